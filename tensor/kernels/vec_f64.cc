#include "tensor/kernels/vec_f64.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace lorikeet::internal {
namespace {

double Unary(UnaryOp op, double x) {
  switch (op) {
    case UnaryOp::kNeg:
      return -x;
    case UnaryOp::kAbs:
      return std::fabs(x);
    case UnaryOp::kSign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    case UnaryOp::kExp:
      return std::exp(x);
    case UnaryOp::kLog:
      return std::log(x);
    case UnaryOp::kSqrt:
      return std::sqrt(x);
    case UnaryOp::kRsqrt:
      return 1 / std::sqrt(x);
    case UnaryOp::kReciprocal:
      return 1 / x;
    case UnaryOp::kSquare:
      return x * x;
    case UnaryOp::kTanh:
      return std::tanh(x);
    case UnaryOp::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case UnaryOp::kSilu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

double Binary(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSub:
      return a - b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kDiv:
      return a / b;
    case BinaryOp::kMaximum:
      return std::isnan(a) || a > b ? a : b;
    case BinaryOp::kMinimum:
      return std::isnan(a) || a < b ? a : b;
    case BinaryOp::kEqual:
      return a == b;
    case BinaryOp::kGreater:
      return a > b;
  }
  return a;
}

// As in vec_f32.cc; x^3 and the exponential stay finite.
struct Gelu {
  double value, slope;
};
Gelu GeluOf(double x) {
  const double linear = 2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi, cubic = linear * 0.044715;
  const double c = std::clamp(x, -16.0, 16.0), e = std::exp(-c * (linear + cubic * c * c)), s = 1 / (1 + e);
  return {std::max(c, x) * s, s + c * s * (e * s) * (linear + 3 * cubic * c * c)};
}

}  // namespace

void VecUnary(UnaryOp op, const double* x, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = Unary(op, x[i]);
}
void VecBinary(BinaryOp op, const double* a, const double* b, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = Binary(op, a[i], b[i]);
}

double VecMax(const double* x, int64_t n) {
  double max = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < n; ++i) max = Binary(BinaryOp::kMaximum, max, x[i]);
  return max;
}

double VecExpSum(const double* x, double shift, double* y, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double e = std::exp(x[i] - shift);
    if (y != nullptr) y[i] = e;
    sum += e;
  }
  return sum;
}

void VecScaledExp(const double* x, double shift, double factor, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = factor * std::exp(x[i] - shift);
}

void VecSwiGlu(const double* gate, const double* up, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = Unary(UnaryOp::kSilu, gate[i]) * up[i];
}

void VecSwiGluGrad(const double* dy, const double* gate, const double* up, double* dgate, double* dup, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double s = Unary(UnaryOp::kSigmoid, gate[i]), silu = gate[i] * s, g = dy[i], u = up[i];
    dgate[i] = g * u * (s + silu * (1 - s));
    dup[i] = g * silu;
  }
}

void VecGeGlu(const double* gate, const double* up, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = GeluOf(gate[i]).value * up[i];
}

void VecGeGluGrad(const double* dy, const double* gate, const double* up, double* dgate, double* dup, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const Gelu gelu = GeluOf(gate[i]);
    const double g = dy[i], u = up[i];
    dgate[i] = g * u * gelu.slope;
    dup[i] = g * gelu.value;
  }
}

void VecGelu(const double* x, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = GeluOf(x[i]).value;
}

void VecGeluGrad(const double* dy, const double* x, double* dx, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] * GeluOf(x[i]).slope;
}

void VecScaleGrad(const double* dy, const double* x, const double* g, double* dx, double* dot, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    dot[i] += dy[i] * x[i];
    dx[i] = dy[i] * g[i];
  }
}

}  // namespace lorikeet::internal
