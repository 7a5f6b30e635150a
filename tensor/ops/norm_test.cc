#include "tensor/ops/norm.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/each_target.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

constexpr float kEps = 1e-5f;

// y = w * x / sqrt(mean(x^2) + eps), row by row.
std::vector<double> Reference(const Tensor& x, const Tensor& w) {
  const std::vector<double> v = Values(x), weight = Values(w);
  const size_t d = weight.size();
  std::vector<double> y(v.size());
  for (size_t row = 0; row < v.size(); row += d) {
    double squares = 0;
    for (size_t i = 0; i < d; ++i) squares += v[row + i] * v[row + i];
    const double r = 1 / std::sqrt(squares / static_cast<double>(d) + kEps);
    for (size_t i = 0; i < d; ++i) y[row + i] = weight[i] * v[row + i] * r;
  }
  return y;
}

std::vector<double> Sum(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

DType SumDType(DType t) { return t == DType::kF64 ? t : DType::kF32; }

TEST(RmsNormTest, MatchesItsDefinitionInEveryDTypeContiguousAndStrided) {
  for (DType dtype : kFloatDTypes) {
    for (int64_t d : {1, 7, 37, 576}) {
      SCOPED_TRACE(std::string(Name(dtype)) + " " + std::to_string(d));
      const Tensor x = RandomTensor({2, 3, d}, dtype, 1), w = RandomTensor({d}, dtype, 2);
      const RmsNormResult r = RmsNorm(x, w, kEps);
      EXPECT_TRUE(IsClose(r.y, Reference(x, w), Tolerance(dtype)));
      EXPECT_EQ(r.rstd.shape(), (Shape{2, 3}));
      EXPECT_EQ(r.rstd.dtype(), SumDType(dtype));
      const Tensor flat = x.Reshape({6, d});
      EXPECT_TRUE(SameBits(RmsNorm(Strided(x), w, kEps).y, r.y));
      EXPECT_TRUE(SameBits(RmsNorm(Strided(flat), w, kEps).y.Reshape({2, 3, d}), r.y));
    }
  }
}

TEST(RmsNormTest, EveryInstructionSetMatchesTheDefinition) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor x = RandomTensor({5, 77}, dtype, 1), w = RandomTensor({77}, dtype, 2);
    const std::vector<double> want = Reference(x, w);
    ForEachTarget([&] { EXPECT_TRUE(IsClose(RmsNorm(x, w, kEps).y, want, Tolerance(dtype))); });
  }
}

TEST(RmsNormTest, AnF32WeightMayStandBesideABF16Input) {
  const Tensor x = RandomTensor({5, 33}, DType::kBF16, 1), w = RandomTensor({33}, DType::kF32, 2);
  const RmsNormResult r = RmsNorm(x, w, kEps);
  EXPECT_EQ(r.y.dtype(), DType::kBF16);
  EXPECT_TRUE(IsClose(r.y, Reference(x, w), Tolerance(DType::kBF16)));
}

TEST(RmsNormTest, GradientsAgreeWithCentralDifferences) {
  const Tensor x = RandomTensor({3, 37}, DType::kF64, 1), w = RandomTensor({37}, DType::kF64, 2);
  const Tensor dy = RandomTensor({3, 37}, DType::kF64, 3);
  const RmsNormGradResult g = RmsNormGrad(dy, x, w, RmsNorm(x, w, kEps).rstd);
  EXPECT_TRUE(IsGradient(
      g.dx, [&](const Tensor& t) { return Dot(RmsNorm(t, w, kEps).y, dy); }, x));
  EXPECT_TRUE(IsGradient(
      g.dw, [&](const Tensor& t) { return Dot(RmsNorm(x, t, kEps).y, dy); }, w));
}

TEST(RmsNormTest, GradientsInEveryDTypeAgreeWithF64) {
  for (DType dtype : kFloatDTypes) {
    for (int64_t d : {1, 37, 576}) {
      SCOPED_TRACE(std::string(Name(dtype)) + " " + std::to_string(d));
      const Tensor x = RandomTensor({300, d}, dtype, 1), w = RandomTensor({d}, dtype, 2);
      const Tensor dy = RandomTensor({300, d}, dtype, 3);
      const RmsNormGradResult got = RmsNormGrad(Strided(dy), Strided(x), w, RmsNorm(x, w, kEps).rstd);
      const Tensor x64 = x.Cast(DType::kF64), w64 = w.Cast(DType::kF64);
      const RmsNormGradResult want = RmsNormGrad(dy.Cast(DType::kF64), x64, w64, RmsNorm(x64, w64, kEps).rstd);
      EXPECT_TRUE(IsClose(got.dx, Values(want.dx), 4 * Tolerance(dtype)));
      EXPECT_TRUE(IsClose(got.dw, Values(want.dw), 20 * Tolerance(SumDType(dtype))));
      EXPECT_EQ(got.dw.dtype(), SumDType(dtype));
    }
  }
}

TEST(RmsNormTest, TheWeightGradientIsComputedOnlyWhenWanted) {
  const Tensor x = RandomTensor({4, 8}, DType::kF32, 1), w = RandomTensor({8}, DType::kF32, 2);
  const Tensor rstd = RmsNorm(x, w, kEps).rstd;
  const RmsNormGradResult with = RmsNormGrad(x, x, w, rstd, true), without = RmsNormGrad(x, x, w, rstd, false);
  EXPECT_TRUE(SameBits(with.dx, without.dx));
  EXPECT_TRUE(with.dw.defined());
  EXPECT_FALSE(without.dw.defined());
}

TEST(RmsNormTest, RowsOfZerosAndRowsWhoseSquaresOverflowStayFinite) {
  const Tensor w = Tensor::Full({19}, 1, DType::kF32);
  const Tensor zeros = Tensor::Zeros({2, 19}, DType::kF32), huge = Tensor::Full({2, 19}, 1e20, DType::kF32);
  EXPECT_TRUE(IsClose(RmsNorm(zeros, w, kEps).y, Values(zeros), 0));
  const RmsNormResult r = RmsNorm(huge, w, kEps);
  EXPECT_TRUE(IsClose(r.y, std::vector<double>(38, 1.0), 1e-6));
  const RmsNormGradResult g = RmsNormGrad(huge, huge, w, r.rstd);
  EXPECT_TRUE(IsClose(g.dx, std::vector<double>(38, 0.0), 1e-6));
  EXPECT_TRUE(IsClose(g.dw, std::vector<double>(19, 2e20), 1e-6));
}

TEST(RmsNormTest, NaNSpoilsItsOwnRowOnly) {
  Tensor x = RandomTensor({3, 20}, DType::kF32, 1);
  const Tensor w = Tensor::Full({20}, 1, DType::kF32);
  std::vector<double> want = Values(RmsNorm(x, w, kEps).y);
  x.data<float>()[25] = std::nanf("");
  for (size_t i = 20; i < 40; ++i) want[i] = std::nan("");
  EXPECT_TRUE(IsClose(RmsNorm(x, w, kEps).y, want, 0));
}

TEST(RmsNormTest, BitsDoNotDependOnTheNumberOfThreads) {
  const Tensor x = RandomTensor({700, 123}, DType::kBF16, 1), w = RandomTensor({123}, DType::kF32, 2);
  const RmsNormResult first = RmsNorm(x, w, kEps);
  const RmsNormGradResult grad = RmsNormGrad(x, x, w, first.rstd);
  ForEachThreadCount([&] {
    EXPECT_TRUE(SameBits(RmsNorm(x, w, kEps).y, first.y));
    const RmsNormGradResult g = RmsNormGrad(x, x, w, first.rstd);
    EXPECT_TRUE(SameBits(g.dx, grad.dx));
    EXPECT_TRUE(SameBits(g.dw, grad.dw));
  });
}

TEST(RmsNormTest, NoRowsGiveAnEmptyResultAndAZeroWeightGradient) {
  const Tensor x = Tensor::Zeros({0, 5}, DType::kF32), w = Tensor::Full({5}, 2, DType::kF32);
  const RmsNormResult r = RmsNorm(x, w, kEps);
  EXPECT_EQ(r.y.shape(), (Shape{0, 5}));
  EXPECT_TRUE(IsClose(RmsNormGrad(x, x, w, r.rstd).dw, std::vector<double>(5, 0.0), 0));
}

TEST(AddRmsNormTest, IsTheSumAndItsNorm) {
  for (DType dtype : kFloatDTypes) {
    SCOPED_TRACE(Name(dtype));
    const Tensor x = RandomTensor({11, 45}, dtype, 1), residual = RandomTensor({11, 45}, dtype, 2);
    const Tensor w = RandomTensor({45}, dtype, 3);
    const AddRmsNormResult r = AddRmsNorm(x, Strided(residual), w, kEps);
    EXPECT_TRUE(IsClose(r.sum, Sum(Values(x), Values(residual)), Tolerance(dtype)));
    EXPECT_TRUE(SameBits(r.y, RmsNorm(r.sum, w, kEps).y));
    EXPECT_TRUE(SameBits(r.rstd, RmsNorm(r.sum, w, kEps).rstd));
  }
}

TEST(AddRmsNormTest, GradientsAgreeWithCentralDifferences) {
  const Tensor x = RandomTensor({3, 13}, DType::kF64, 1), residual = RandomTensor({3, 13}, DType::kF64, 2);
  const Tensor w = RandomTensor({13}, DType::kF64, 3);
  const Tensor dy = RandomTensor({3, 13}, DType::kF64, 4), dsum = RandomTensor({3, 13}, DType::kF64, 5);
  auto loss = [&](const Tensor& a, const Tensor& b, const Tensor& weight) {
    const AddRmsNormResult r = AddRmsNorm(a, b, weight, kEps);
    return Dot(r.y, dy) + Dot(r.sum, dsum);
  };
  const AddRmsNormResult r = AddRmsNorm(x, residual, w, kEps);
  const RmsNormGradResult g = AddRmsNormGrad(dy, dsum, r.sum, w, r.rstd);
  EXPECT_TRUE(IsGradient(
      g.dx, [&](const Tensor& t) { return loss(t, residual, w); }, x));
  EXPECT_TRUE(IsGradient(
      g.dx, [&](const Tensor& t) { return loss(x, t, w); }, residual));
  EXPECT_TRUE(IsGradient(
      g.dw, [&](const Tensor& t) { return loss(x, residual, t); }, w));
}

TEST(RmsNormDeathTest, AWrongWeightAborts) {
  const Tensor x = Tensor::Zeros({2, 8}, DType::kF32);
  EXPECT_DEATH(RmsNorm(x, Tensor::Zeros({7}, DType::kF32), kEps), "RmsNorm: w is f32\\[7\\], expected f32\\[8\\]");
  EXPECT_DEATH(RmsNorm(x, Tensor::Zeros({8}, DType::kBF16), kEps), "RmsNorm: w is bf16\\[8\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
