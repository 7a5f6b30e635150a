#include "tensor/ops/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

// The definition: x [a, b, c] reduced over the dimensions whose flag is set, one element at a time.
std::vector<double> Reference(const Tensor& x, const bool (&reduced)[3], bool max) {
  const std::vector<double> v = Values(x);
  const int64_t a = x.dim(0), b = x.dim(1), c = x.dim(2);
  const int64_t kb = reduced[1] ? 1 : b, kc = reduced[2] ? 1 : c;
  std::vector<double> out(static_cast<size_t>((reduced[0] ? 1 : a) * kb * kc), max ? -kInf : 0.0);
  for (int64_t i = 0; i < a * b * c; ++i) {
    const int64_t p = i / (b * c), q = i / c % b, r = i % c;
    double& y =
        out[static_cast<size_t>(((reduced[0] ? 0 : p) * kb + (reduced[1] ? 0 : q)) * kc + (reduced[2] ? 0 : r))];
    y = max ? std::max(y, v[static_cast<size_t>(i)]) : y + v[static_cast<size_t>(i)];
  }
  return out;
}

TEST(ReduceTest, SumMeanAndMaxMatchTheirDefinitionOverEverySetOfDimensions) {
  for (DType dtype : kFloatDTypes) {
    const Tensor x = RandomTensor({5, 33, 67}, dtype, 1, -2, 3);
    for (int set = 0; set < 8; ++set) {
      SCOPED_TRACE(std::string(Name(dtype)) + " dims " + std::to_string(set));
      const bool reduced[3] = {(set & 1) != 0, (set & 2) != 0, (set & 4) != 0};
      std::vector<int> dims;
      for (int d = 0; d < 3; ++d) {
        if (reduced[d]) dims.push_back(d - 3);
      }
      std::vector<double> want = Reference(x, reduced, false);
      EXPECT_TRUE(IsClose(Sum(x, dims), want, Tolerance(dtype)));
      EXPECT_TRUE(IsClose(Sum(Strided(x), dims, true), want, Tolerance(dtype)));
      for (double& v : want) v *= static_cast<double>(want.size()) / static_cast<double>(x.size());
      EXPECT_TRUE(IsClose(Mean(x, dims), want, Tolerance(dtype)));
      EXPECT_TRUE(IsClose(Max(x, dims), Reference(x, reduced, true), 0));
      EXPECT_TRUE(IsClose(Max(Strided(x), dims), Reference(x, reduced, true), 0));
    }
  }
}

TEST(ReduceTest, KeepdimLeavesOnes) {
  const Tensor x = Tensor::Zeros({2, 3, 4}, DType::kF32);
  EXPECT_EQ(Sum(x, {1}).shape(), (Shape{2, 4}));
  EXPECT_EQ(Sum(x, {0, -1}, true).shape(), (Shape{1, 3, 1}));
  EXPECT_EQ(SumAll(x).shape(), Shape{});
}

TEST(ReduceTest, LongRowsAndColumnsAreSummedExactlyWhereTheyCanBe) {
  const Tensor ones = Tensor::Full({300001}, 1, DType::kF32);
  EXPECT_EQ(SumAll(ones).item(), 300001);
  const Tensor columns = Sum(ones.Slice(0, 0, 300000).Reshape({100000, 3}), {0});
  EXPECT_TRUE(IsClose(columns, {100000, 100000, 100000}, 0));
}

TEST(ReduceTest, OverNothingTheSumIsZeroAndTheMeanNaN) {
  const Tensor none = Tensor::Zeros({0, 3}, DType::kF32);
  EXPECT_TRUE(IsClose(Sum(none, {0}), {0, 0, 0}, 0));
  EXPECT_TRUE(IsClose(Mean(none, {0}), {kNaN, kNaN, kNaN}, 0));
  EXPECT_EQ(Sum(none, {1}).shape(), (Shape{0}));
  EXPECT_EQ(SumSquares(none), 0);
  EXPECT_TRUE(AllFinite(none));
  EXPECT_DEATH(Max(none, {0}), "Max: of no elements: f32\\[0,3\\]");
}

TEST(ReduceTest, NaNAndInfinityPropagate) {
  for (DType dtype : kFloatDTypes) {
    for (int at : {0, 17, 36}) {
      std::vector<double> values(37, 1.0);
      values[static_cast<size_t>(at)] = kNaN;
      const Tensor x = FromDoubles(values, {37, 1}, dtype);
      EXPECT_TRUE(IsClose(Max(x, {0}), {kNaN}, 0));
      EXPECT_TRUE(IsClose(Sum(x.Expand({37, 300}).Contiguous(), {0}), std::vector<double>(300, kNaN), 0));
      EXPECT_TRUE(IsClose(Max(x.Expand({37, 300}).Contiguous(), {0}), std::vector<double>(300, kNaN), 0));
      EXPECT_TRUE(std::isnan(SumSquares(x)));
    }
    EXPECT_TRUE(IsClose(SumAll(FromDoubles({1, kInf}, {2}, dtype)), {kInf}, 0));
    EXPECT_TRUE(IsClose(SumAll(FromDoubles({-kInf, kInf}, {2}, dtype)), {kNaN}, 0));
  }
}

TEST(ReduceTest, SumToUndoesBroadcasting) {
  const Tensor x = RandomTensor({4, 3, 5}, DType::kF64, 1);
  EXPECT_TRUE(SameBits(SumTo(x, {5}), Sum(x, {0, 1})));
  EXPECT_TRUE(SameBits(SumTo(x, {3, 1}), Sum(x, {0, 2}).Reshape({3, 1})));
  EXPECT_TRUE(SameBits(SumTo(x, {4, 1, 5}), Sum(x, {1}, true)));
  EXPECT_TRUE(SameBits(SumTo(x, {}), SumAll(x)));
  EXPECT_TRUE(SumTo(x, {4, 3, 5}).shares_memory_with(x));
  EXPECT_DEATH(SumTo(x, {4}), "SumTo: f64\\[4,3,5\\] to \\[4\\]");
}

TEST(ReduceTest, RowDotMatchesItsDefinitionAcrossDTypesAndStrides) {
  for (DType ta : kFloatDTypes) {
    for (DType tb : kFloatDTypes) {
      const Tensor a = RandomTensor({7, 1501}, ta, 1), b = RandomTensor({7, 1501}, tb, 2);
      const std::vector<double> va = Values(a), vb = Values(b);
      std::vector<double> want(7);
      for (size_t i = 0; i < va.size(); ++i) want[i / 1501] += va[i] * vb[i];
      const Tensor y = RowDot(a, b);
      EXPECT_EQ(y.dtype(), ta == DType::kF64 || tb == DType::kF64 ? DType::kF64 : DType::kF32);
      EXPECT_TRUE(IsClose(y, want, Tolerance(y.dtype())));
      EXPECT_TRUE(SameBits(RowDot(Strided(a), b), y));
    }
  }
}

TEST(ReduceTest, SumSquaresKeepsWhatF32WouldLose) {
  Tensor x = Tensor::Full({1 << 20}, 1e-4, DType::kF32);
  x.data<float>()[5] = 1e4f;
  const double small = static_cast<double>(1e-4f), want = 1e8 + ((1 << 20) - 1) * small * small;
  EXPECT_NEAR(SumSquares(x), want, 1e-6);
  EXPECT_TRUE(std::isfinite(SumSquares(Tensor::Full({100}, 1e20, DType::kF32))));
}

TEST(ReduceTest, AllFiniteFindsOneBadElementAnywhere) {
  for (DType dtype : kFloatDTypes) {
    for (double bad : {kNaN, kInf, -kInf}) {
      for (size_t at : {size_t{0}, size_t{999}, size_t{40000}}) {
        std::vector<double> values(40001, 1.0);
        EXPECT_TRUE(AllFinite(FromDoubles(values, {40001}, dtype)));
        values[at] = bad;
        EXPECT_FALSE(AllFinite(FromDoubles(values, {40001}, dtype)));
      }
    }
  }
}

TEST(ReduceTest, ArgMaxIsTheFirstOfEqualsAndTakesNaNForTheLargest) {
  const Tensor x =
      FromDoubles({1, 3, 3, 2, /**/ -kInf, -kInf, -kInf, -kInf, /**/ 5, kNaN, 9, kNaN}, {3, 4}, DType::kBF16);
  EXPECT_TRUE(IsClose(ArgMax(x), {1, 0, 1}, 0));
  EXPECT_EQ(ArgMax(RandomTensor({2, 3, 5}, DType::kF64, 1)).shape(), (Shape{2, 3}));
  std::vector<double> values(3000, 0.0);
  values[2500] = 1;
  EXPECT_TRUE(IsClose(ArgMax(FromDoubles(values, {3000}, DType::kF16)), {2500}, 0));
}

TEST(ReduceTest, BitsDoNotDependOnTheNumberOfThreads) {
  const Tensor x = RandomTensor({9001, 37}, DType::kF32, 1);
  const Tensor rows = Sum(x, {1}), columns = Sum(x, {0}), all = SumAll(x), dots = RowDot(x, x);
  const double squares = SumSquares(x);
  ForEachThreadCount([&] {
    EXPECT_TRUE(SameBits(Sum(x, {1}), rows));
    EXPECT_TRUE(SameBits(Sum(x, {0}), columns));
    EXPECT_TRUE(SameBits(SumAll(x), all));
    EXPECT_TRUE(SameBits(RowDot(x, x), dots));
    EXPECT_EQ(SumSquares(x), squares);
  });
}

TEST(ReduceDeathTest, MisuseIsNamed) {
  const Tensor x = Tensor::Zeros({2, 3}, DType::kF32);
  EXPECT_DEATH(Sum(x, {2}), "Sum: dimension 2 of f32\\[2,3\\]");
  EXPECT_DEATH(Sum(x, {1, -1}), "Sum: dimension -1 of f32\\[2,3\\]");
  EXPECT_DEATH(RowDot(x, Tensor::Zeros({3, 2}, DType::kF32)), "RowDot: a is f32\\[2,3\\], b is f32\\[3,2\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
