#include <cmath>

#include "tensor/dtype.h"
#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/elementwise_op.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/vec_f32.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::DispatchCompute;
using internal::MapBlocks;
using internal::VecBinary;
using internal::VecUnary;

// f64 is for gradient checks: plain and exact, not fast.
double UnaryF64(UnaryOp op, double x) {
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

double BinaryF64(BinaryOp op, double a, double b) {
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

void VecUnary(UnaryOp op, const double* x, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = UnaryF64(op, x[i]);
}
void VecBinary(BinaryOp op, const double* a, const double* b, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = BinaryF64(op, a[i], b[i]);
}

void Unary(UnaryOp op, View x, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    MapBlocks<C, 1, 1>({x}, {y}, [op](auto in, auto out, int64_t, int64_t n) { VecUnary(op, in[0], out[0], n); });
  });
}

void Binary(BinaryOp op, View a, View b, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    MapBlocks<C, 2, 1>({a, b}, {y},
                       [op](auto in, auto out, int64_t, int64_t n) { VecBinary(op, in[0], in[1], out[0], n); });
  });
}

void BinaryScalar(BinaryOp op, View x, double s, View y, LaunchContext context) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    C scalar = static_cast<C>(s);
    View b = x;  // the scalar, repeated
    b.data = &scalar;
    b.dtype = DTypeOf<C>();
    for (int64_t& stride : b.strides) stride = 0;
    Binary(op, x, b, y, context);
  });
}

void AddInPlace(View x, double alpha, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    const C a = static_cast<C>(alpha);
    MapBlocks<C, 2, 1>({x, y}, {y}, [a](auto in, auto out, int64_t, int64_t n) {
      for (int64_t i = 0; i < n; ++i) out[0][i] = in[1][i] + a * in[0][i];
    });
  });
}

}  // namespace

const ElementwiseKernels kCpuElementwise = {
    .unary = Unary, .binary = Binary, .binary_scalar = BinaryScalar, .add_in_place = AddInPlace};

}  // namespace lorikeet
