// The CUDA rotary embedding against the CPU's.
#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/kernels/rope.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

class RopeCudaTest : public CudaKernelTest {
 protected:
  // Of every kind of rotation, with half a head's elements in the table, or fewer.
  static void ExpectAgrees(const Pair& x, int64_t half) {
    const Shape table = {x.cpu.dim(0), half};
    ExpectAgrees(x, Uniform(table, DType::kF32, 1, -1, 1), Uniform(table, DType::kF32, 2, -1, 1));
  }
  static void ExpectAgrees(const Pair& x, const Pair& cos, const Pair& sin) {
    for (bool interleaved : {false, true}) {
      for (bool inverse : {false, true}) {
        const Pair y = Result(x.cpu.shape());
        kCpuRope.rope(x.cpu.view(), cos.cpu.view(), sin.cpu.view(), interleaved, inverse, y.cpu.view(), {});
        kCudaRope.rope(x.cuda.view(), cos.cuda.view(), sin.cuda.view(), interleaved, inverse, y.cuda.view(), {});
        EXPECT_TRUE(Agrees(y, 1)) << (interleaved ? "interleaved" : "split-half");
      }
    }
  }
};

TEST_P(RopeCudaTest, HeadsOfEverySizeAgree) {
  for (int64_t half : {1, 4, 5, 32, 48}) {
    SCOPED_TRACE(half);
    ExpectAgrees(Values({5, 3, 2 * half}, 3), half);
  }
  ExpectAgrees(Values({3, 40, 128}, 3), 64);  // more than a block's threads
}

TEST_P(RopeCudaTest, WhatIsNotRotatedStays) {
  ExpectAgrees(Values({5, 3, 32}, 3), 8);
  ExpectAgrees(Values({5, 3, 19}, 3), 8);
}

TEST_P(RopeCudaTest, ViewsMayBeStridedOrEmpty) {
  const Pair wide = Values({4, 5, 48}, 3);
  ExpectAgrees(wide.Map([](const Tensor& t) { return t.Slice(2, 0, 16); }), 8);
  ExpectAgrees(wide.Map([](const Tensor& t) { return t.Slice(2, 1, 17); }), 8);
  ExpectAgrees(wide.Map([](const Tensor& t) { return t.Transpose(1, 2); }), 2);
  const Pair table = Uniform({4, 16}, DType::kF32, 1).Map([](const Tensor& t) { return t.Slice(1, 3, 11); });
  ExpectAgrees(wide.Map([](const Tensor& t) { return t.Slice(2, 0, 16); }), table, table);
  ExpectAgrees(Values({0, 5, 16}, 3), 8);
}

TEST_P(RopeCudaTest, TheResultMayReplaceItsInput) {
  const Pair x = Values({6, 2, 64}, 3), cos = Uniform({6, 32}, DType::kF32, 1), sin = Uniform({6, 32}, DType::kF32, 2);
  for (bool interleaved : {false, true}) {
    kCpuRope.rope(x.cpu.view(), cos.cpu.view(), sin.cpu.view(), interleaved, false, x.cpu.view(), {});
    kCudaRope.rope(x.cuda.view(), cos.cuda.view(), sin.cuda.view(), interleaved, false, x.cuda.view(), {});
  }
  EXPECT_TRUE(Agrees(x, 4));
}

TEST_P(RopeCudaTest, TablesAgreeFarOut) {
  const Tensor positions = Tensor::From<int32_t>({0, 1, 100, 4095, 131071, 1000003}, {6});
  const Pair inv_freq = Of(Tensor::From<float>({1, 0.7498942f, 0.1f, 1e-4f, 3.1e-7f}, {5}));
  const Pair cos = Result({6, 5}, DType::kF32), sin = Result({6, 5}, DType::kF32);
  kCpuRope.rope_table(positions.view(), inv_freq.cpu.view(), 1.25, INT64_MAX, cos.cpu.view(), sin.cpu.view(), {});
  kCudaRope.rope_table(positions.To(Cuda(0)).view(), inv_freq.cuda.view(), 1.25, INT64_MAX, cos.cuda.view(),
                       sin.cuda.view(), {});
  EXPECT_TRUE(Agree(cos.cuda, cos.cpu, 1.2e-7, 1));
  EXPECT_TRUE(Agree(sin.cuda, sin.cpu, 1.2e-7, 1));
}

// More positions than a block has threads; the longest is among the last.
TEST_P(RopeCudaTest, TheLongestPositionSaysWhichRowOfFrequenciesCounts) {
  std::vector<int32_t> p(3000);
  std::iota(p.begin(), p.end(), 0);
  const Tensor positions = Tensor::From<int32_t>(p, {3000}), there = positions.To(Cuda(0));
  const Pair rows = Of(Tensor::From<float>({1, 0.1f, 0.01f, 0.5f, 0.02f, 1e-3f}, {2, 3}));
  for (const int64_t long_from : {2999, 3000}) {
    const Pair cos = Result({3000, 3}, DType::kF32), sin = Result({3000, 3}, DType::kF32);
    kCpuRope.rope_table(positions.view(), rows.cpu.view(), 1, long_from, cos.cpu.view(), sin.cpu.view(), {});
    kCudaRope.rope_table(there.view(), rows.cuda.view(), 1, long_from, cos.cuda.view(), sin.cuda.view(), {});
    EXPECT_TRUE(Agree(cos.cuda, cos.cpu, 1.2e-7, 1)) << long_from;
    EXPECT_TRUE(Agree(sin.cuda, sin.cpu, 1.2e-7, 1)) << long_from;
  }
}

INSTANTIATE_CUDA_TEST_SUITE(RopeCudaTest);

}  // namespace
}  // namespace lorikeet
