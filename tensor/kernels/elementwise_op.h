// The elementwise functions of one and of two arguments, by name: what a kernel is told to compute.
//
//   kernels.unary(UnaryOp::kExp, x, y, {});      // tensor/kernels/elementwise.h
//
// Compiles under nvcc without Abseil.
#ifndef LORIKEET_TENSOR_KERNELS_ELEMENTWISE_OP_H_
#define LORIKEET_TENSOR_KERNELS_ELEMENTWISE_OP_H_

#include <cstdint>

namespace lorikeet {

enum class UnaryOp : uint8_t {
  kNeg,         // -x
  kAbs,         // |x|
  kSign,        // -1, 0, 1; NaN for NaN
  kExp,         // e^x
  kLog,         // ln x
  kSqrt,        // sqrt(x)
  kRsqrt,       // 1 / sqrt(x)
  kReciprocal,  // 1 / x
  kSquare,      // x * x
  kTanh,        // tanh(x)
  kSigmoid,     // 1 / (1 + e^-x)
  kSilu,        // x / (1 + e^-x)
};

enum class BinaryOp : uint8_t {
  kAdd,      // a + b
  kSub,      // a - b
  kMul,      // a * b
  kDiv,      // a / b
  kMaximum,  // the larger one
  kMinimum,  // the smaller one
  kEqual,    // 1 if a == b, else 0 (0 for NaN)
  kGreater,  // 1 if a > b, else 0 (0 for NaN)
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_ELEMENTWISE_OP_H_
