// Tensors on the CUDA device against the same tensors on the CPU: bits, not tolerances.
#include "tensor/cuda_memory.h"

#include <cmath>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/cuda_stream.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

class CudaTensorTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

Tensor Ramp(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.size()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.37f * static_cast<float>(i) - 11.0f;
  return Tensor::From<float>(absl::MakeConstSpan(values), shape);
}

std::vector<double> Values(const Tensor& t) {
  const Tensor host = t.To(kCpu).Cast(DType::kF64).Contiguous();
  const absl::Span<double> d = host.data<double>();
  return {d.begin(), d.end()};
}

TEST_F(CudaTensorTest, AllocatesAlignedMemoryAndTakesItBack) {
  CudaAllocator allocator;
  void* p = allocator.Allocate(1000);
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % Allocator::kAlignment, 0u);
  EXPECT_TRUE(allocator.device().is_cuda());
  allocator.Free(p, 1000);
  EXPECT_EQ(allocator.Allocate(0), nullptr);
}

TEST_F(CudaTensorTest, PinnedMemoryMayBeWrittenAgainAfterACopy) {
  PinnedAllocator pinned;
  const Tensor page = Tensor::Empty({4}, DType::kF32, pinned);
  page.data<float>()[3] = 7;
  const Tensor there = page.To(Cuda(0));
  page.data<float>()[3] = 8;
  EXPECT_EQ(there.Slice(0, 3, 4).item(), 7);
}

TEST_F(CudaTensorTest, TheDeviceHasANameAndMemory) {
  EXPECT_FALSE(CudaDeviceName().empty());
  EXPECT_GT(CudaMemory().free_bytes, 0u);
  EXPECT_GE(CudaMemory().total_bytes, CudaMemory().free_bytes);
}

TEST_F(CudaTensorTest, ACopyStreamIsOrderedByEvents) {
  PinnedAllocator pinned;
  const Tensor page = Tensor::Empty({1024}, DType::kF32, pinned);
  const Tensor x = Tensor::Full({1024}, 2.5, DType::kF32, Cuda(0));
  CudaStream copies;
  CudaEvent done;
  copies.Wait(CudaEvent::Of(ComputeStream()));
  copies.Copy(page.raw(), x.raw(), 4096);
  done.Record(copies);
  done.Synchronize();
  EXPECT_TRUE(done.Done());
  EXPECT_EQ(page.data<float>()[1023], 2.5f);
}

TEST_F(CudaTensorTest, AnImpossibleAllocationIsANullPointer) {
  CudaAllocator allocator;
  EXPECT_EQ(allocator.Allocate(size_t{1} << 50), nullptr);
  void* p = allocator.Allocate(64);  // and the error is not sticky
  EXPECT_NE(p, nullptr);
  allocator.Free(p, 64);
}

TEST_F(CudaTensorTest, SurvivesTheWayToTheDeviceAndBack) {
  const Tensor x = Ramp({3, 37});
  const Tensor there = x.To(Cuda(0));
  EXPECT_TRUE(there.device().is_cuda());
  EXPECT_EQ(Values(there), Values(x));
}

TEST_F(CudaTensorTest, ConvertsBetweenAllDtypesAsTheCpuDoes) {
  constexpr DType kAll[] = {DType::kF64, DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64, DType::kU8};
  const Tensor x = Ramp({5, 7}).Slice(0, 4, 5);  // 0 <= x < 2: every dtype can hold it
  for (DType from : kAll) {
    for (DType to : kAll) {
      const Tensor source = x.Cast(from);
      EXPECT_EQ(Values(source.To(Cuda(0)).Cast(to)), Values(source.Cast(to))) << Name(from) << " to " << Name(to);
    }
  }
}

TEST_F(CudaTensorTest, RoundsSixteenBitFloatsAtTheirEdgesAsTheCpuDoes) {
  const Tensor x = Tensor::From<float>({0.0f, -0.0f, 65504.0f, 65519.9f, 65520.0f, 6.1e-5f, 6.0e-8f, 2.9e-8f, -1e-40f,
                                        3.4e38f, 1.00390625f, 1.01171875f, std::numeric_limits<float>::infinity()},
                                       {13});
  EXPECT_EQ(Values(x.To(Cuda(0)).Cast(DType::kF16)), Values(x.Cast(DType::kF16)));
  EXPECT_EQ(Values(x.To(Cuda(0)).Cast(DType::kBF16)), Values(x.Cast(DType::kBF16)));
  const Tensor nan = Tensor::From<float>({std::nanf("")}, {1}).To(Cuda(0));
  EXPECT_TRUE(std::isnan(nan.Cast(DType::kF16).item()));
  EXPECT_TRUE(std::isnan(nan.Cast(DType::kBF16).item()));
}

TEST_F(CudaTensorTest, GathersStridedAndRepeatedViews) {
  const Tensor x = Ramp({3, 5, 7}), there = x.To(Cuda(0));
  EXPECT_EQ(Values(there.Transpose(0, 2).Contiguous()), Values(x.Transpose(0, 2)));
  EXPECT_EQ(Values(there.Slice(1, 1, 4).Cast(DType::kBF16)), Values(x.Slice(1, 1, 4).Cast(DType::kBF16)));
  const Shape wide = {2, 3, 5, 7};
  EXPECT_EQ(Values(there.Expand(wide).Contiguous()), Values(x.Expand(wide)));
}

TEST_F(CudaTensorTest, FillsMoreElementsThanTheGridHasThreads) {
  const Tensor t = Tensor::Full({600001}, 1.5, DType::kBF16, Cuda(0));
  const std::vector<double> values = Values(t);
  EXPECT_EQ(std::vector<double>(values.size(), 1.5), values);
}

TEST_F(CudaTensorTest, EmptyTensorsCostNothing) {
  const Tensor t = Tensor::Zeros({0, 4}, DType::kF32, Cuda(0));
  EXPECT_EQ(Values(t.Cast(DType::kF16)).size(), 0u);
}

TEST(CudaMemory, SaysWhyThereIsNoDevice) {
  if (CudaUnavailable().empty()) GTEST_SKIP() << "there is a device";
  EXPECT_EQ(CudaAllocator().Allocate(64), nullptr);
  EXPECT_GT(CudaUnavailable().size(), 10u);
}

}  // namespace
}  // namespace lorikeet
