// Differentiable arithmetic, element by element. a and b broadcast against each other as in NumPy; a gradient is summed
// back to its operand's shape.
//
//   Variable y = Mul(Sub(x, mean), Rsqrt(AddScalar(var, eps)));
//
// Operands share a dtype (f64, f32, bf16, f16); arithmetic is in f32, or f64 for f64. Each op's derivative and what it
// saves stand beside its definition in elementwise.cc.
#ifndef LORIKEET_AUTOGRAD_OPS_ELEMENTWISE_H_
#define LORIKEET_AUTOGRAD_OPS_ELEMENTWISE_H_

#include "autograd/variable.h"

namespace lorikeet {

Variable Add(const Variable& a, const Variable& b);
Variable Sub(const Variable& a, const Variable& b);
Variable Mul(const Variable& a, const Variable& b);
Variable Div(const Variable& a, const Variable& b);

Variable Neg(const Variable& x);
Variable Scale(const Variable& x, double s);
Variable AddScalar(const Variable& x, double s);
Variable Square(const Variable& x);
Variable Exp(const Variable& x);
Variable Log(const Variable& x);
Variable Sqrt(const Variable& x);
Variable Rsqrt(const Variable& x);
Variable Tanh(const Variable& x);
Variable Sigmoid(const Variable& x);
Variable Silu(const Variable& x);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_ELEMENTWISE_H_
