// The CUDA reductions against the CPU's.
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/kernels/reduce.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

class ReduceCudaTest : public CudaKernelTest {
 protected:
  // x's first dims are the result's.
  static void ExpectReduceAgrees(const Pair& x, const Shape& kept) {
    for (ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax}) {
      if (op == ReduceOp::kMax && x.cpu.size() == 0) continue;
      const Pair y = Result(kept);
      kCpuReduce.reduce(op, x.cpu.view(), 0.5, y.cpu.view(), {});
      kCudaReduce.reduce(op, x.cuda.view(), 0.5, y.cuda.view(), {});
      EXPECT_TRUE(Agrees(y)) << Describe(x.cpu) << " to " << Describe(y.cpu);
    }
  }
  static void ExpectWholeAgrees(const Pair& x) {
    const Pair squares = Result({1}, DType::kF64), finite = Result({1}, DType::kI32);
    kCpuReduce.sum_squares(x.cpu.view(), squares.cpu.view(), {});
    kCudaReduce.sum_squares(x.cuda.view(), squares.cuda.view(), {});
    EXPECT_TRUE(Agree(squares.cuda, squares.cpu, 1e-13, 0)) << Describe(x.cpu);
    kCpuReduce.all_finite(x.cpu.view(), finite.cpu.view(), {});
    kCudaReduce.all_finite(x.cuda.view(), finite.cuda.view(), {});
    EXPECT_TRUE(Agrees(finite)) << Describe(x.cpu);
  }
  static void ExpectRowsAgree(const Pair& a, const Pair& b) {
    const Pair dot = Result({a.cpu.dim(0)}, DType::kF32), wide = Result({a.cpu.dim(0)}, DType::kF64);
    kCpuReduce.row_dot(a.cpu.view(), b.cpu.view(), dot.cpu.view(), {});
    kCudaReduce.row_dot(a.cuda.view(), b.cuda.view(), dot.cuda.view(), {});
    EXPECT_TRUE(Agrees(dot, 1)) << Describe(a.cpu);
    kCudaReduce.row_dot(a.cuda.view(), b.cuda.view(), wide.cuda.view(), {});
    EXPECT_TRUE(Agree(wide.cuda, dot.cpu, 4e-6, 1)) << Describe(a.cpu);
    const Pair index = Result({a.cpu.dim(0)}, DType::kI32);
    kCpuReduce.arg_max(a.cpu.view(), index.cpu.view(), {});
    kCudaReduce.arg_max(a.cuda.view(), index.cuda.view(), {});
    EXPECT_TRUE(Agrees(index)) << Describe(a.cpu);
  }
  static Pair Transposed(const Pair& x, int a, int b) {
    return x.Map([a, b](const Tensor& t) { return t.Transpose(a, b); });
  }
};

TEST_P(ReduceCudaTest, SquaresOfManyTensorsAgreeWhateverTheirSizes) {
  if (GetParam() != DType::kF32) GTEST_SKIP() << "of f32 only";
  std::vector<Pair> xs;
  std::vector<View> here, there;
  for (int64_t i = 0; i < 250; ++i) {
    const int64_t n = i % 50 == 7 ? 100 * 1000 + i : i % 9 == 0 ? 0 : 3 * i;
    xs.push_back(Uniform({n + 1}, DType::kF32, static_cast<uint32_t>(i)).Map([&](const Tensor& t) {
      return t.Slice(0, i % 2, n + i % 2);  // an address of its own, and one that packs do not fit
    }));
    here.push_back(xs.back().cpu.view());
    there.push_back(xs.back().cuda.view());
  }
  const Pair sums = Of(Tensor::Zeros({250}, DType::kF64));
  kCpuReduce.sum_squares_each(here.data(), 250, sums.cpu.view(), {});
  kCudaReduce.sum_squares_each(there.data(), 250, sums.cuda.view(), {});
  EXPECT_TRUE(Agree(sums.cuda, sums.cpu, 1e-13, 0));
}

TEST_P(ReduceCudaTest, RowsAreReduced) {
  for (int64_t d : {1, 5, 8, 40, 257, 2048}) ExpectReduceAgrees(Values({9, d}, 1), {9});
  ExpectReduceAgrees(Values({3, 40 * 1000}, 1), {3});  // in pieces
  ExpectReduceAgrees(Values({3, 40 * 1000 + 3}, 1), {3});
  ExpectReduceAgrees(Values({3, 4, 5, 6}, 1), {3, 4});
  ExpectReduceAgrees(Values({3, 7}, 1), {3, 7});
  ExpectReduceAgrees(Values({3, 0}, 1), {3});
  ExpectReduceAgrees(Values({0, 3}, 1), {0});
}

TEST_P(ReduceCudaTest, ColumnsAreReduced) {
  for (int64_t d : {2, 5, 8, 40, 300}) ExpectReduceAgrees(Transposed(Values({150, d}, 1), 0, 1), {d});
  ExpectReduceAgrees(Transposed(Values({5, 70, 24}, 1), 1, 2), {5, 24});
  ExpectReduceAgrees(Transposed(Values({5, 7, 24}, 1), 0, 2), {24, 7});
  ExpectReduceAgrees(Transposed(Values({5, 7, 24}, 1), 0, 2), {24});
}

TEST_P(ReduceCudaTest, AnythingElseIsReduced) {
  ExpectReduceAgrees(Strided(Values({6, 50}, 1)), {6});
  ExpectReduceAgrees(Transposed(Values({4, 6, 10}, 1), 1, 2), {4});
  const Pair x = Values({6, 50}, 1), part = x.Map([](const Tensor&t) { return t.Slice(1, 1, 41); });
  ExpectReduceAgrees(part, {6});
  ExpectWholeAgrees(part);
  ExpectRowsAgree(part, part);
  ExpectReduceAgrees(Values({6, 1}, 1).Map([](const Tensor& t) { return t.Expand({6, 9}); }), {6});
}

TEST_P(ReduceCudaTest, WholeTensorsAreReduced) {
  for (int64_t n : {0, 1, 100, 8192, 60000, 60001}) ExpectWholeAgrees(Values({n}, 1));
  ExpectWholeAgrees(Strided(Values({30, 40}, 1)));
  for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const Pair x = Values({20000}, 1);
    const Tensor y = x.cpu.Cast(DType::kF32).Clone();
    y.data<float>()[19998] = bad;
    const Pair spoiled = Of(y.Cast(GetParam()).Clone()), finite = Result({1}, DType::kI32);
    kCudaReduce.all_finite(spoiled.cuda.view(), finite.cuda.view(), {});
    EXPECT_EQ(finite.cuda.item(), 0);
  }
}

TEST_P(ReduceCudaTest, RowsHaveDotsAndLargestElements) {
  for (int64_t d : {1, 5, 8, 64, 1000, 4096}) ExpectRowsAgree(Values({7, d}, 1), Values({7, d}, 2));
  ExpectRowsAgree(Values({2, 17 * 1024}, 1), Values({2, 17 * 1024}, 2));
  ExpectRowsAgree(Strided(Values({7, 24}, 1)), Values({7, 24}, 2));
  ExpectRowsAgree(Values({7, 24}, 1), Uniform({7, 24}, DType::kF32, 2));
  ExpectRowsAgree(Values({7, 24}, 1), Uniform({7, 24}, DType::kBF16, 2));
}

TEST_P(ReduceCudaTest, NanIsTheMaximumAndItsFirstPlaceTheLargest) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor rows = Tensor::From<float>(
      {1, nan, inf, nan, -0.0f, 0, -0.0f, -1, -inf, -inf, -inf, -inf, 2, 3, 3, 1, -2, -3, -inf, -2}, {5, 4});
  const Pair x = Of(rows.Cast(GetParam()).Clone()), y = Result({5}), index = Result({5}, DType::kI32);
  kCpuReduce.reduce(ReduceOp::kMax, x.cpu.view(), 1, y.cpu.view(), {});
  kCudaReduce.reduce(ReduceOp::kMax, x.cuda.view(), 1, y.cuda.view(), {});
  EXPECT_TRUE(Agrees(y));
  kCpuReduce.arg_max(x.cpu.view(), index.cpu.view(), {});
  kCudaReduce.arg_max(x.cuda.view(), index.cuda.view(), {});
  EXPECT_TRUE(Agrees(index));
}

INSTANTIATE_CUDA_TEST_SUITE(ReduceCudaTest);

}  // namespace
}  // namespace lorikeet
