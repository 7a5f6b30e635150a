#include "tensor/ops/column_scale.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

DType FactorDType(DType t) { return t == DType::kF64 ? DType::kF64 : DType::kF32; }

TEST(ColumnScaleTest, MatchesItsDefinitionInEveryDTypeAndAnyStrides) {
  constexpr size_t kRows = 150, kColumns = 37;
  for (DType dtype : kFloatDTypes) {
    SCOPED_TRACE(Name(dtype));
    const Tensor x = RandomTensor({kRows, kColumns}, dtype, 1), dy = RandomTensor({kRows, kColumns}, dtype, 2);
    const Tensor g = RandomTensor({kColumns}, FactorDType(dtype), 3);
    const std::vector<double> vx = Values(x), vdy = Values(dy), vg = Values(g);
    std::vector<double> y(vx.size()), dx(vx.size()), dot(kColumns);
    for (size_t i = 0; i < vx.size(); ++i) {
      y[i] = vx[i] * vg[i % kColumns];
      dx[i] = vdy[i] * vg[i % kColumns];
      dot[i % kColumns] += vdy[i] * vx[i];
    }
    EXPECT_TRUE(IsClose(ColumnScale(x, g, dtype), y, Tolerance(dtype)));
    EXPECT_TRUE(SameBits(ColumnScale(Strided(x), g, dtype), ColumnScale(x, g, dtype)));
    const ColumnScaleGrads grads = ColumnScaleGrad(dy, x, g);
    EXPECT_TRUE(IsClose(grads.dx, dx, Tolerance(dtype)));
    EXPECT_TRUE(IsClose(grads.dot, dot, Tolerance(FactorDType(dtype)) * 10));
    EXPECT_TRUE(SameBits(ColumnScaleGrad(Strided(dy), Strided(x), g).dot, grads.dot));
    EXPECT_FALSE(ColumnScaleGrad(dy, x, g, /*want_dot=*/false).dot.defined());
  }
}

TEST(ColumnScaleTest, AFactorKeepsItsDigitsBesideBf16) {
  const Tensor x = RandomTensor({512, 1}, DType::kF32, 1, 1, 2), g = Tensor::Full({1}, 1.002, DType::kF32);
  const std::vector<double> before = Values(x), after = Values(ColumnScale(x, g, DType::kBF16));
  double gain = 0;
  for (size_t i = 0; i < before.size(); ++i) gain += after[i] / before[i] / 512;
  EXPECT_NEAR(gain, 1.002, 3e-4);  // 1.002 is 1 in bf16
}

TEST(ColumnScaleTest, NothingIsFineAndSoIsAnyNumberOfThreads) {
  const Tensor none = Tensor::Zeros({0, 5}, DType::kF32), five = Tensor::Full({5}, 2, DType::kF32);
  EXPECT_EQ(ColumnScale(none, five, DType::kF32).shape(), (Shape{0, 5}));
  EXPECT_TRUE(IsClose(ColumnScaleGrad(none, none, five).dot, {0, 0, 0, 0, 0}, 0));
  const Tensor x = RandomTensor({301, 1100}, DType::kBF16, 1), dy = RandomTensor({301, 1100}, DType::kBF16, 2);
  const Tensor g = RandomTensor({1100}, DType::kF32, 3);
  const ColumnScaleGrads want = ColumnScaleGrad(dy, x, g);
  ForEachThreadCount([&] {
    const ColumnScaleGrads grads = ColumnScaleGrad(dy, x, g);
    EXPECT_TRUE(SameBits(grads.dx, want.dx));
    EXPECT_TRUE(SameBits(grads.dot, want.dot));
  });
}

TEST(ColumnScaleDeathTest, MisuseIsNamed) {
  const Tensor x = Tensor::Zeros({2, 3}, DType::kBF16);
  const Tensor g = Tensor::Zeros({3}, DType::kF32);
  EXPECT_DEATH(ColumnScale(x, g.Cast(DType::kBF16), DType::kBF16), "ColumnScale: x is bf16\\[2,3\\], g is bf16\\[3\\]");
  EXPECT_DEATH(ColumnScaleGrad(x, x, g.Slice(0, 0, 2)), "expected \\[n,d\\] and f32\\[d\\]");
  EXPECT_DEATH(ColumnScale(x, g, DType::kF64), "y is to be f64");
}

}  // namespace
}  // namespace lorikeet::tensor
