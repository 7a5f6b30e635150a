#include "tensor/ops/rope.h"

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

const Tensor kPositions = Tensor::From<int32_t>({0, 1, 2, 7, 100, 4095}, {6});

// The complex product (a + ib) * e^(i*angle), pair by pair.
std::vector<double> Reference(const Tensor& x, const Tensor& positions, const Tensor& inv_freq, RopeLayout layout) {
  const std::vector<double> v = Values(x), p = Values(positions), f = Values(inv_freq);
  const size_t half = f.size(), heads = static_cast<size_t>(x.dim(1));
  const size_t step = layout == RopeLayout::kInterleaved ? 2 : 1, apart = layout == RopeLayout::kInterleaved ? 1 : half;
  std::vector<double> y(v.size());
  for (size_t row = 0; row < v.size() / (2 * half); ++row) {
    for (size_t i = 0; i < half; ++i) {
      const double angle = p[row / heads] * f[i];
      const size_t a = row * 2 * half + i * step, b = a + apart;
      y[a] = v[a] * std::cos(angle) - v[b] * std::sin(angle);
      y[b] = v[b] * std::cos(angle) + v[a] * std::sin(angle);
    }
  }
  return y;
}

TEST(RopeTest, RotatesPairsInBothLayoutsInEveryDType) {
  for (DType dtype : kFloatDTypes) {
    for (RopeLayout layout : {RopeLayout::kSplitHalf, RopeLayout::kInterleaved}) {
      SCOPED_TRACE(Name(dtype));
      const Tensor x = RandomTensor({6, 3, 12}, dtype, 1);
      const Tensor inv_freq = RopeFrequencies(10000, 12, {}, dtype == DType::kF64 ? DType::kF64 : DType::kF32);
      const RopeTable table = MakeRopeTable(kPositions, inv_freq);
      // An f32 angle near 4095 is off by up to 4095 * 2^-24.
      const double tolerance = dtype == DType::kF64 ? 1e-12 : 1e-3 + Tolerance(dtype);
      EXPECT_TRUE(IsClose(Rope(x, table, layout), Reference(x, kPositions, inv_freq, layout), tolerance));
      EXPECT_TRUE(SameBits(Rope(Strided(x), table, layout), Rope(x, table, layout)));
    }
  }
}

TEST(RopeTest, PositionZeroChangesNothing) {
  const Tensor x = RandomTensor({1, 2, 64}, DType::kBF16, 1);
  const RopeTable table = MakeRopeTable(Tensor::From<int32_t>({0}, {1}), RopeFrequencies(10000, 64));
  EXPECT_TRUE(SameBits(Rope(x, table), x));
}

TEST(RopeTest, TheGradientIsTheInverseRotationAndAgreesWithCentralDifferences) {
  const Tensor x = RandomTensor({6, 2, 8}, DType::kF64, 1), dy = RandomTensor({6, 2, 8}, DType::kF64, 2);
  const RopeTable table = MakeRopeTable(kPositions, RopeFrequencies(10000, 8, {}, DType::kF64));
  for (RopeLayout layout : {RopeLayout::kSplitHalf, RopeLayout::kInterleaved}) {
    const Tensor dx = RopeGrad(dy, table, layout);
    EXPECT_TRUE(IsGradient(
        dx, [&](const Tensor& t) { return Dot(Rope(t, table, layout), dy); }, x));
    EXPECT_TRUE(IsClose(Rope(dx, table, layout), Values(dy), 1e-12));
  }
}

TEST(RopeTest, InPlaceWritesTheSameIntoASliceOfWiderRows) {
  const Tensor wide = RandomTensor({6, 5, 16}, DType::kF32, 1);
  Tensor slice = wide.Slice(1, 1, 4);
  const Tensor before = slice.Clone();
  const RopeTable table = MakeRopeTable(kPositions, RopeFrequencies(10000, 16));
  const std::vector<double> outside = Values(wide.Slice(1, 4, 5));
  RopeInPlace(slice, table, RopeLayout::kInterleaved);
  EXPECT_TRUE(SameBits(slice, Rope(before, table, RopeLayout::kInterleaved)));
  EXPECT_TRUE(IsClose(wide.Slice(1, 4, 5), outside, 0));
}

TEST(RopeTest, ATableOfFewerDimensionsRotatesTheFirstAndLeavesTheRest) {
  for (DType dtype : kFloatDTypes) {
    for (RopeLayout layout : {RopeLayout::kSplitHalf, RopeLayout::kInterleaved}) {
      const Tensor x = RandomTensor({6, 3, 14}, dtype, 1);
      const Tensor inv_freq = RopeFrequencies(10000, 8, {}, dtype == DType::kF64 ? DType::kF64 : DType::kF32);
      const RopeTable table = MakeRopeTable(kPositions, inv_freq);
      const Tensor first = x.Slice(2, 0, 8), y = Rope(x, table, layout);
      EXPECT_TRUE(SameBits(y.Slice(2, 0, 8), Rope(first, table, layout)));
      EXPECT_TRUE(SameBits(y.Slice(2, 8, 14), x.Slice(2, 8, 14)));
      EXPECT_TRUE(SameBits(RopeGrad(x, table, layout).Slice(2, 8, 14), x.Slice(2, 8, 14)));
    }
  }
}

TEST(RopeTest, TheFactorScalesTheTable) {
  const Tensor inv_freq = RopeFrequencies(10000, 16);
  const RopeTable one = MakeRopeTable(kPositions, inv_freq), half = MakeRopeTable(kPositions, inv_freq, 0.5);
  std::vector<double> want = Values(one.cos);
  for (double& v : want) v *= 0.5;
  EXPECT_TRUE(IsClose(half.cos, want, 1e-7));
}

TEST(RopeTest, OfTwoRowsOfFrequenciesTheLongestPositionSaysWhich) {
  const Tensor rows = Tensor::From<float>({1, 0.5f, 0.25f, 3, 2, 1.5f}, {2, 3});
  const auto row = [&](int64_t i) { return rows.Slice(0, i, i + 1).Reshape({3}); };
  for (const auto& [long_from, expected] : {std::pair<int64_t, int64_t>{4095, 1}, {4096, 0}, {INT64_MAX, 0}, {0, 1}}) {
    const RopeTable got = MakeRopeTable(kPositions, rows, 1.5, long_from);
    const RopeTable want = MakeRopeTable(kPositions, row(expected), 1.5);
    EXPECT_TRUE(SameBits(got.cos, want.cos)) << long_from;
    EXPECT_TRUE(SameBits(got.sin, want.sin)) << long_from;
  }
  EXPECT_EQ(MakeRopeTable(Tensor::Zeros({0}, DType::kI32), rows, 1, 0).cos.shape(), (Shape{0, 3}));
}

TEST(RopeTest, BitsDoNotDependOnTheNumberOfThreads) {
  const Tensor x = RandomTensor({300, 9, 64}, DType::kBF16, 1);
  std::vector<int32_t> p(300);
  for (int i = 0; i < 300; ++i) p[static_cast<size_t>(i)] = 3 * i;
  const Tensor positions = Tensor::From<int32_t>(p, {300});
  const Tensor first = Rope(x, MakeRopeTable(positions, RopeFrequencies(10000, 64)));
  ForEachThreadCount(
      [&] { EXPECT_TRUE(SameBits(Rope(x, MakeRopeTable(positions, RopeFrequencies(10000, 64))), first)); });
}

TEST(RopeTest, NoTokensGiveAnEmptyResult) {
  const RopeTable table = MakeRopeTable(Tensor::Zeros({0}, DType::kI32), RopeFrequencies(10000, 4));
  EXPECT_EQ(Rope(Tensor::Zeros({0, 2, 4}, DType::kF32), table).shape(), (Shape{0, 2, 4}));
}

TEST(RopeDeathTest, ATableOfAnotherBatchAborts) {
  const RopeTable table = MakeRopeTable(kPositions, RopeFrequencies(10000, 16));
  EXPECT_DEATH(Rope(Tensor::Zeros({5, 2, 16}, DType::kF32), table), "Rope: the table is f32\\[6,8\\]");
  EXPECT_DEATH(Rope(Tensor::Zeros({6, 2, 14}, DType::kF32), table), "Rope: the table is f32\\[6,8\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
