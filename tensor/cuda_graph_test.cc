#include "tensor/cuda_graph.h"

#include "absl/functional/function_ref.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/cuda_stream.h"
#include "tensor/default_allocator.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

class CudaGraphTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
  static Tensor Random(uint64_t seed) { return tensor::RandomTensor({48, 48}, DType::kF32, seed).To(Cuda(0)); }
  // Products and temporaries, one of which goes back into x.
  static Tensor Work(Tensor& x) {
    Tensor y = Tensor::Empty(x.shape(), DType::kF32, Cuda(0));
    tensor::MatMulInto(y, tensor::AddScalar(x, 1), false, tensor::Square(x), true, 0.5, 0);
    tensor::ScaleInPlace(x, -1);
    return tensor::Add(y, x);
  }
};

TEST_F(CudaGraphTest, NothingRunsBeforeALaunchAndEveryLaunchReadsWhatIsThereThen) {
  Tensor x = Random(1);
  Work(x);
  const Tensor before = x.To(kCpu);
  Tensor y;
  CudaGraph graph;
  EXPECT_FALSE(graph.captured());
  graph.Capture([&] { y = Work(x); });
  EXPECT_TRUE(graph.captured() && graph.valid());
  EXPECT_TRUE(tensor::SameBits(x.To(kCpu), before));
  for (uint64_t seed : {2, 3, 4}) {
    SCOPED_TRACE(seed);
    const Tensor next = Random(seed);
    tensor::CopyInto(next, x);
    graph.Launch();
    const Tensor got = y.To(kCpu), left = x.To(kCpu);
    Tensor again = next.Clone();
    EXPECT_TRUE(tensor::SameBits(Work(again).To(kCpu), got));
    EXPECT_TRUE(tensor::SameBits(again.To(kCpu), left));
  }
}

TEST_F(CudaGraphTest, MemoryOfACaptureServesLaterCapturesAndNobodyElse) {
  Tensor x = Random(1);
  Work(x);
  {
    CudaGraph first, second;
    first.Capture([&] { Work(x); });
    EXPECT_EQ(GraphMemory().stats().live_bytes, 0);
    const int64_t held = GraphMemory().stats().held_bytes;
    EXPECT_GT(held, 0);
    second.Capture([&] { Work(x); });
    EXPECT_EQ(GraphMemory().stats().held_bytes, held);
  }
  EXPECT_EQ(GraphMemory().stats().held_bytes, 0);
}

TEST_F(CudaGraphTest, AResultKeepsItsMemoryThroughOtherCaptures) {
  Tensor x = Random(1), y, z;
  Work(x);
  CudaGraph first, second;
  first.Capture([&] { y = Work(x); });
  second.Capture([&] { z = Work(x); });
  EXPECT_NE(y.raw(), z.raw());
  first.Launch();
  const Tensor kept = y.To(kCpu);
  second.Launch();
  EXPECT_TRUE(tensor::SameBits(y.To(kCpu), kept));
}

TEST_F(CudaGraphTest, TensorsOutsideACaptureComeFromTheDevicesOwnMemory) {
  Tensor x = Random(1);
  Work(x);
  CudaGraph graph;
  graph.Capture([&] { Work(x); });
  const int64_t live = DeviceMemory().live_bytes();
  const Tensor y = Tensor::Empty({1000}, DType::kF32, Cuda(0));
  EXPECT_EQ(DeviceMemory().live_bytes(), live + 4000);
}

TEST_F(CudaGraphTest, ScratchThatMovedMakesAGraphInvalid) {
  Tensor x = Random(1);
  Work(x);
  CudaGraph graph;
  graph.Capture([&] { Work(x); });
  EXPECT_TRUE(graph.valid());
  ComputeStream().Synchronize();
  const int64_t before = internal::CudaScratchGeneration();
  for (size_t bytes = 1 << 20; internal::CudaScratchGeneration() == before; bytes *= 2) {
    internal::CudaScratch(internal::kCudaScratchPartials, bytes);
  }
  EXPECT_FALSE(graph.valid());
  EXPECT_DEATH(graph.Launch(), "scratch has moved");
}

TEST_F(CudaGraphTest, WorkThatMovesScratchIsNotCaptured) {
  CudaGraph graph;
  const auto grow = [] {
    const int64_t before = internal::CudaScratchGeneration();
    for (size_t bytes = 1 << 20; internal::CudaScratchGeneration() == before; bytes *= 2) {
      internal::CudaScratch(internal::kCudaScratchPartials, bytes);
    }
  };
  EXPECT_FALSE(graph.Capture(grow));
  EXPECT_FALSE(graph.captured());
  Tensor x = Random(1), y;
  EXPECT_TRUE(graph.Capture([&] { y = tensor::Square(x); }));
  graph.Launch();
  EXPECT_TRUE(tensor::SameBits(y.To(kCpu), tensor::Square(x).To(kCpu)));
}

TEST(CudaGraphDeathTest, WhatWaitsOrMeetsTheHostCannotBeCaptured) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // the other one forks what a device belongs to
  const auto capture = [](absl::FunctionRef<void(const Tensor&)> work) {
    const Tensor x = Tensor::Zeros({4}, DType::kF32, Cuda(0));
    CudaGraph graph;
    graph.Capture([&] { work(x); });
  };
  EXPECT_DEATH(CudaGraph().Launch(), "nothing was captured");
  EXPECT_DEATH(capture([](const Tensor& x) { x.To(kCpu); }), "between host and device cannot be captured");
  EXPECT_DEATH(capture([](const Tensor& x) { x.To(kCpu).To(Cuda(0)); }), "between host and device cannot be captured");
  EXPECT_DEATH(capture([](const Tensor&) { ComputeStream().Synchronize(); }), "captur");
}

}  // namespace
}  // namespace lorikeet
