// A gradient against central differences, in f64.
//
//   auto loss = [&](const Tensor& x) { return Dot(Exp(x), dy); };
//   EXPECT_TRUE(IsGradient(ExpGrad(dy, x), loss, x));       // every element of dx within 1e-5 of the difference
//
// Dot(y, dy) turns a tensor into the number whose gradient is dy's product with y's derivative.
#ifndef LORIKEET_TENSOR_OPS_GRADCHECK_H_
#define LORIKEET_TENSOR_OPS_GRADCHECK_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

inline double Dot(const Tensor& y, const Tensor& dy) {
  const std::vector<double> a = Values(y), b = Values(dy);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// x is f64. The step keeps the error of the difference near 1e-9 for functions whose third derivative is near 1.
template <typename F>
testing::AssertionResult IsGradient(const Tensor& dx, const F& loss, const Tensor& x, double tolerance = 1e-5) {
  constexpr double kStep = 1e-5;
  const Tensor moved = x.Clone();
  const absl::Span<double> elements = moved.data<double>();
  std::vector<double> want;
  for (double& e : elements) {
    const double middle = e;
    e = middle + kStep;
    const double above = loss(moved);
    e = middle - kStep;
    const double below = loss(moved);
    e = middle;
    want.push_back((above - below) / (2 * kStep));
  }
  return IsClose(dx, want, tolerance);
}

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_GRADCHECK_H_
