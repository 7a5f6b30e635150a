#include "tensor/ops/activation.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

double SiluTimes(double g, double u) { return g / (1 + std::exp(-g)) * u; }

struct Reference {
  std::vector<double> y, dgate, dup;
};

Reference Definition(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  const std::vector<double> d = Values(dy), g = Values(gate), u = Values(up);
  Reference r;
  for (size_t i = 0; i < g.size(); ++i) {
    const double s = 1 / (1 + std::exp(-g[i]));
    r.y.push_back(SiluTimes(g[i], u[i]));
    r.dgate.push_back(d[i] * u[i] * (s + g[i] * s * (1 - s)));
    r.dup.push_back(d[i] * g[i] * s);
  }
  return r;
}

TEST(ActivationTest, SwiGluAndItsGradientMatchTheirDefinitionInEveryDType) {
  for (DType dtype : kFloatDTypes) {
    SCOPED_TRACE(Name(dtype));
    const Tensor gate = RandomTensor({17, 131}, dtype, 1, -9, 9), up = RandomTensor({17, 131}, dtype, 2);
    const Tensor dy = RandomTensor({17, 131}, dtype, 3);
    const Reference want = Definition(dy, gate, up);
    EXPECT_TRUE(IsClose(SwiGlu(gate, up), want.y, Tolerance(dtype)));
    EXPECT_TRUE(SameBits(SwiGlu(Strided(gate), up), SwiGlu(gate, Strided(up))));
    const GatedGrads grads = SwiGluGrad(dy, Strided(gate), up);
    EXPECT_TRUE(IsClose(grads.dgate, want.dgate, Tolerance(dtype)));
    EXPECT_TRUE(IsClose(grads.dup, want.dup, Tolerance(dtype)));
  }
}

TEST(ActivationTest, TheGradientInF64EqualsCentralDifferences) {
  const Tensor gate = RandomTensor({50}, DType::kF64, 1, -3, 3), up = RandomTensor({50}, DType::kF64, 2);
  const GatedGrads grads = SwiGluGrad(Tensor::Full({50}, 1, DType::kF64), gate, up);
  const std::vector<double> g = Values(gate), u = Values(up), dgate = Values(grads.dgate), dup = Values(grads.dup);
  const double h = 1e-5;
  for (size_t i = 0; i < g.size(); ++i) {
    EXPECT_TRUE(Near(dgate[i], (SiluTimes(g[i] + h, u[i]) - SiluTimes(g[i] - h, u[i])) / (2 * h), 1e-8));
    EXPECT_TRUE(Near(dup[i], (SiluTimes(g[i], u[i] + h) - SiluTimes(g[i], u[i] - h)) / (2 * h), 1e-8));
  }
}

TEST(ActivationTest, TheGradientMayOverwriteItsInputs) {
  for (DType dtype : kFloatDTypes) {
    Tensor gate = RandomTensor({3, 1031}, dtype, 1), up = RandomTensor({3, 1031}, dtype, 2);
    const Tensor dy = RandomTensor({3, 1031}, dtype, 3);
    const GatedGrads want = SwiGluGrad(dy, gate, up);
    SwiGluGradInto(dy, gate, up, gate, up);
    EXPECT_TRUE(SameBits(gate, want.dgate));
    EXPECT_TRUE(SameBits(up, want.dup));
  }
}

TEST(ActivationTest, LargeGatesNeitherOverflowNorHideNaN) {
  const Tensor gate = FromDoubles({100, -100, 1e4, -1e4, std::nan(""), 1}, {6}, DType::kF32);
  const Tensor up = FromDoubles({2, 2, 2, 2, 2, std::nan("")}, {6}, DType::kF32),
               ones = Tensor::Full({6}, 1, DType::kF32);
  const double nan = std::nan("");
  const GatedGrads grads = SwiGluGrad(ones, gate, up);
  EXPECT_TRUE(IsClose(SwiGlu(gate, up), {200, 0, 2e4, 0, nan, nan}, 1e-6));
  EXPECT_TRUE(IsClose(grads.dgate, {2, 0, 2, 0, nan, nan}, 1e-6));
  EXPECT_TRUE(IsClose(grads.dup, {100, 0, 1e4, 0, nan, 1 / (1 + std::exp(-1.0))}, 1e-6));
}

double GeluOf(double x) {
  return x / 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979324) * (x + 0.044715 * x * x * x)));
}
double GeluSlope(double x) {
  const double k = std::sqrt(2 / 3.14159265358979324), t = std::tanh(k * (x + 0.044715 * x * x * x));
  return (1 + t) / 2 + x / 2 * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x);
}

TEST(ActivationTest, GeluAndGeGluMatchTheirDefinitionInEveryDType) {
  for (DType dtype : kFloatDTypes) {
    SCOPED_TRACE(Name(dtype));
    const Tensor gate = RandomTensor({17, 131}, dtype, 1, -7, 7), up = RandomTensor({17, 131}, dtype, 2);
    const Tensor dy = RandomTensor({17, 131}, dtype, 3);
    const std::vector<double> g = Values(gate), u = Values(up), d = Values(dy);
    std::vector<double> gelu, gelu_grad, geglu, dgate, dup;
    for (size_t i = 0; i < g.size(); ++i) {
      gelu.push_back(GeluOf(g[i]));
      gelu_grad.push_back(d[i] * GeluSlope(g[i]));
      geglu.push_back(GeluOf(g[i]) * u[i]);
      dgate.push_back(d[i] * u[i] * GeluSlope(g[i]));
      dup.push_back(d[i] * GeluOf(g[i]));
    }
    EXPECT_TRUE(IsClose(Gelu(Strided(gate)), gelu, Tolerance(dtype)));
    EXPECT_TRUE(IsClose(GeluGrad(dy, gate), gelu_grad, Tolerance(dtype)));
    EXPECT_TRUE(IsClose(GeGlu(Strided(gate), up), geglu, Tolerance(dtype)));
    const GatedGrads grads = GeGluGrad(dy, gate, Strided(up));
    EXPECT_TRUE(IsClose(grads.dgate, dgate, Tolerance(dtype)));
    EXPECT_TRUE(IsClose(grads.dup, dup, Tolerance(dtype)));
  }
}

TEST(ActivationTest, GeluOfLargeNumbersNeitherOverflowsNorHidesNaN) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor x = FromDoubles({20, -20, 1e30, -1e30, std::nan(""), 0}, {6}, dtype);
    const Tensor ones = Tensor::Full({6}, 1, dtype);
    EXPECT_TRUE(IsClose(Gelu(x), {20, 0, 1e30, 0, std::nan(""), 0}, 1e-6));
    EXPECT_TRUE(IsClose(GeluGrad(ones, x), {1, 0, 1, 0, std::nan(""), 0.5}, 1e-6));
    const GatedGrads grads = GeGluGrad(ones, x, ones);
    EXPECT_TRUE(IsClose(GeGlu(x, ones), {20, 0, 1e30, 0, std::nan(""), 0}, 1e-6));
    EXPECT_TRUE(IsClose(grads.dgate, {1, 0, 1, 0, std::nan(""), 0.5}, 1e-6));
    EXPECT_TRUE(IsClose(grads.dup, {20, 0, 1e30, 0, std::nan(""), 0}, 1e-6));
  }
}

TEST(ActivationTest, EmptyTensorsAndAnyNumberOfThreadsWork) {
  EXPECT_EQ(SwiGlu(Tensor::Zeros({0, 5}, DType::kF32), Tensor::Zeros({0, 5}, DType::kF32)).shape(), (Shape{0, 5}));
  const Tensor gate = RandomTensor({99, 1001}, DType::kBF16, 1), up = RandomTensor({99, 1001}, DType::kBF16, 2);
  const Tensor y = SwiGlu(gate, up), dgate = SwiGluGrad(y, gate, up).dgate;
  const Tensor gelu = Gelu(gate), geglu = GeGlu(gate, up), dgelu = GeluGrad(up, gate);
  ForEachThreadCount([&] {
    EXPECT_TRUE(SameBits(Gelu(gate), gelu));
    EXPECT_TRUE(SameBits(GeGlu(gate, up), geglu));
    EXPECT_TRUE(SameBits(GeluGrad(up, gate), dgelu));
    EXPECT_TRUE(SameBits(SwiGlu(gate, up), y));
    EXPECT_TRUE(SameBits(SwiGluGrad(y, gate, up).dgate, dgate));
  });
}

TEST(ActivationDeathTest, MisuseIsNamed) {
  const Tensor gate = Tensor::Zeros({2, 3}, DType::kF32);
  EXPECT_DEATH(SwiGlu(gate, Tensor::Zeros({3}, DType::kF32)), "SwiGlu: up is f32\\[3\\], expected f32\\[2,3\\]");
  EXPECT_DEATH(GeGlu(gate, Tensor::Zeros({3}, DType::kF32)), "GeGlu: up is f32\\[3\\], expected f32\\[2,3\\]");
  EXPECT_DEATH(GeluGrad(Tensor::Zeros({3}, DType::kF32), gate), "GeluGrad: dy is f32\\[3\\], expected f32\\[2,3\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
