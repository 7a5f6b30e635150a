#include "tensor/ops/layer_norm.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/each_target.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

constexpr float kEps = 1e-5f;

// y = w * (x - mean) / sqrt(variance + eps) + b, row by row.
std::vector<double> Reference(const Tensor& x, const Tensor& w, const Tensor& b) {
  const std::vector<double> v = Values(x), weight = Values(w), bias = Values(b);
  const size_t d = weight.size();
  std::vector<double> y(v.size());
  for (size_t row = 0; row < v.size(); row += d) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < d; ++i) sum += v[row + i];
    const double mean = sum / static_cast<double>(d);
    for (size_t i = 0; i < d; ++i) squares += (v[row + i] - mean) * (v[row + i] - mean);
    const double r = 1 / std::sqrt(squares / static_cast<double>(d) + kEps);
    for (size_t i = 0; i < d; ++i) y[row + i] = weight[i] * (v[row + i] - mean) * r + bias[i];
  }
  return y;
}

DType SumDType(DType t) { return t == DType::kF64 ? t : DType::kF32; }

TEST(LayerNormTest, MatchesItsDefinitionInEveryDTypeContiguousAndStrided) {
  for (DType dtype : kFloatDTypes) {
    for (int64_t d : {2, 7, 37, 768}) {
      SCOPED_TRACE(std::string(Name(dtype)) + " " + std::to_string(d));
      const Tensor x = RandomTensor({2, 3, d}, dtype, 1, -1, 3), w = RandomTensor({d}, dtype, 2);
      const Tensor b = RandomTensor({d}, dtype, 3);
      const LayerNormResult r = LayerNorm(x, w, b, kEps);
      EXPECT_TRUE(IsClose(r.y, Reference(x, w, b), 4 * Tolerance(dtype)));
      EXPECT_EQ(r.mean.shape(), (Shape{6}));
      EXPECT_EQ(r.rstd.dtype(), SumDType(dtype));
      EXPECT_TRUE(SameBits(LayerNorm(Strided(x), w, b, kEps).y, r.y));
      EXPECT_TRUE(SameBits(LayerNorm(Strided(x.Reshape({6, d})), w, b, kEps).y.Reshape({2, 3, d}), r.y));
    }
  }
}

TEST(LayerNormTest, EveryInstructionSetMatchesTheDefinition) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor x = RandomTensor({5, 77}, dtype, 1), w = RandomTensor({77}, dtype, 2),
                 b = RandomTensor({77}, dtype, 3);
    const std::vector<double> want = Reference(x, w, b);
    ForEachTarget([&] { EXPECT_TRUE(IsClose(LayerNorm(x, w, b, kEps).y, want, Tolerance(dtype))); });
  }
}

TEST(LayerNormTest, F32WeightsMayStandBesideABF16Input) {
  const Tensor x = RandomTensor({5, 33}, DType::kBF16, 1), w = RandomTensor({33}, DType::kF32, 2);
  const LayerNormResult r = LayerNorm(x, w, w, kEps);
  EXPECT_EQ(r.y.dtype(), DType::kBF16);
  EXPECT_TRUE(IsClose(r.y, Reference(x, w, w), Tolerance(DType::kBF16)));
}

TEST(LayerNormTest, GradientsInEveryDTypeAgreeWithF64) {
  for (DType dtype : kFloatDTypes) {
    for (int64_t d : {2, 37, 768}) {
      SCOPED_TRACE(std::string(Name(dtype)) + " " + std::to_string(d));
      const Tensor x = RandomTensor({300, d}, dtype, 1), w = RandomTensor({d}, dtype, 2);
      const Tensor dy = RandomTensor({300, d}, dtype, 3);
      const LayerNormResult r = LayerNorm(x, w, w, kEps);
      const LayerNormGradResult got = LayerNormGrad(Strided(dy), Strided(x), w, r.mean, r.rstd);
      const Tensor x64 = x.Cast(DType::kF64), w64 = w.Cast(DType::kF64);
      const LayerNormResult r64 = LayerNorm(x64, w64, w64, kEps);
      const LayerNormGradResult want = LayerNormGrad(dy.Cast(DType::kF64), x64, w64, r64.mean, r64.rstd);
      // Rows of two have nothing but their sign left; a difference that nearly vanishes has a steep slope.
      EXPECT_TRUE(d == 2 || IsClose(got.dx, Values(want.dx), 10 * Tolerance(dtype)));
      EXPECT_TRUE(IsClose(got.dw, Values(want.dw), 50 * Tolerance(SumDType(dtype))));
      EXPECT_TRUE(IsClose(got.db, Values(want.db), 50 * Tolerance(SumDType(dtype))));
      EXPECT_EQ(got.dw.dtype(), SumDType(dtype));
    }
  }
}

TEST(LayerNormTest, WeightGradientsAreComputedOnlyWhenWanted) {
  const Tensor x = RandomTensor({4, 8}, DType::kF32, 1), w = RandomTensor({8}, DType::kF32, 2);
  const LayerNormResult r = LayerNorm(x, w, w, kEps);
  const LayerNormGradResult with = LayerNormGrad(x, x, w, r.mean, r.rstd, true);
  const LayerNormGradResult without = LayerNormGrad(x, x, w, r.mean, r.rstd, false);
  EXPECT_TRUE(SameBits(with.dx, without.dx));
  EXPECT_TRUE(with.dw.defined() && with.db.defined());
  EXPECT_FALSE(without.dw.defined() || without.db.defined());
}

TEST(LayerNormTest, EqualElementsAndSquaresThatOverflowStayFinite) {
  const Tensor w = Tensor::Full({18}, 1, DType::kF32), b = Tensor::Full({18}, 0.5, DType::kF32);
  EXPECT_TRUE(IsClose(LayerNorm(Tensor::Full({2, 18}, 7, DType::kF32), w, b, kEps).y, std::vector<double>(36, 0.5), 0));
  std::vector<double> huge(18), want(18);
  for (size_t i = 0; i < 18; ++i) {
    huge[i] = i % 2 == 0 ? 1e20 : -1e20;
    want[i] = i % 2 == 0 ? 1.5 : -0.5;
  }
  EXPECT_TRUE(IsClose(LayerNorm(FromDoubles(huge, {1, 18}, DType::kF32), w, b, kEps).y, want, 1e-6));
}

TEST(LayerNormTest, NaNSpoilsItsOwnRowOnly) {
  Tensor x = RandomTensor({3, 20}, DType::kF32, 1);
  const Tensor w = Tensor::Full({20}, 1, DType::kF32);
  std::vector<double> want = Values(LayerNorm(x, w, w, kEps).y);
  x.data<float>()[25] = std::nanf("");
  for (size_t i = 20; i < 40; ++i) want[i] = std::nan("");
  EXPECT_TRUE(IsClose(LayerNorm(x, w, w, kEps).y, want, 0));
}

TEST(LayerNormTest, BitsDoNotDependOnTheNumberOfThreads) {
  const Tensor x = RandomTensor({700, 123}, DType::kBF16, 1), w = RandomTensor({123}, DType::kF32, 2);
  const LayerNormResult first = LayerNorm(x, w, w, kEps);
  const LayerNormGradResult grad = LayerNormGrad(x, x, w, first.mean, first.rstd);
  ForEachThreadCount([&] {
    EXPECT_TRUE(SameBits(LayerNorm(x, w, w, kEps).y, first.y));
    const LayerNormGradResult g = LayerNormGrad(x, x, w, first.mean, first.rstd);
    EXPECT_TRUE(SameBits(g.dx, grad.dx));
    EXPECT_TRUE(SameBits(g.dw, grad.dw));
    EXPECT_TRUE(SameBits(g.db, grad.db));
  });
}

TEST(LayerNormTest, NoRowsGiveAnEmptyResultAndZeroWeightGradients) {
  const Tensor x = Tensor::Zeros({0, 5}, DType::kF32), w = Tensor::Full({5}, 2, DType::kF32);
  const LayerNormResult r = LayerNorm(x, w, w, kEps);
  EXPECT_EQ(r.y.shape(), (Shape{0, 5}));
  EXPECT_TRUE(IsClose(LayerNormGrad(x, x, w, r.mean, r.rstd).db, std::vector<double>(5, 0.0), 0));
}

TEST(LayerNormDeathTest, AWrongWeightAborts) {
  const Tensor x = Tensor::Zeros({2, 8}, DType::kF32), w = Tensor::Zeros({8}, DType::kF32);
  EXPECT_DEATH(LayerNorm(x, Tensor::Zeros({7}, DType::kF32), w, kEps),
               "LayerNorm: w is f32\\[7\\], expected f32\\[8\\]");
  EXPECT_DEATH(LayerNorm(x, w, Tensor::Zeros({8}, DType::kBF16), kEps), "LayerNorm: b is bf16\\[8\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
