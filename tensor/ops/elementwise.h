// Elementwise arithmetic on tensors of one float dtype, on any device.
//
//   Tensor y = Mul(x, g);                    // x [tokens, d], g [d]: broadcasts as numpy does
//   Tensor z = Silu(AddScalar(Scale(x, 2), 1));
//   AddInPlace(grad, dy, 0.5);               // grad += 0.5 * dy
//
// Shapes: dimensions are aligned from the last; each pair is equal or one of them is 1 (or absent). Results are fresh,
// contiguous tensors of the operands' dtype (which must agree) on their device; arithmetic is in f32 (f64 for f64).
// NaN and infinity propagate. Empty tensors are fine. Errors: misuse aborts, naming both operands.
#ifndef LORIKEET_TENSOR_OPS_ELEMENTWISE_H_
#define LORIKEET_TENSOR_OPS_ELEMENTWISE_H_

#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

// The shape that a and b broadcast to. `op` names the caller in the message if they do not.
Shape BroadcastShape(const char* op, const Shape& a, const Shape& b);

Tensor Add(const Tensor& a, const Tensor& b);
Tensor Sub(const Tensor& a, const Tensor& b);
Tensor Mul(const Tensor& a, const Tensor& b);
Tensor Div(const Tensor& a, const Tensor& b);
Tensor Maximum(const Tensor& a, const Tensor& b);  // NaN if either is
Tensor Minimum(const Tensor& a, const Tensor& b);  // NaN if either is
Tensor Equal(const Tensor& a, const Tensor& b);    // 1 where a == b, else 0
Tensor Greater(const Tensor& a, const Tensor& b);  // 1 where a > b, else 0

Tensor AddScalar(const Tensor& x, double s);  // x + s
Tensor Scale(const Tensor& x, double s);      // x * s
Tensor Maximum(const Tensor& x, double s);    // NaN where x is
Tensor Minimum(const Tensor& x, double s);    // NaN where x is
Tensor Greater(const Tensor& x, double s);    // 1 where x > s, else 0

Tensor Neg(const Tensor& x);
Tensor Abs(const Tensor& x);
Tensor Sign(const Tensor& x);  // -1, 0 or 1; NaN for NaN
Tensor Exp(const Tensor& x);
Tensor Log(const Tensor& x);         // -inf at 0, NaN below
Tensor Sqrt(const Tensor& x);        // NaN below 0
Tensor Rsqrt(const Tensor& x);       // 1/sqrt(x)
Tensor Reciprocal(const Tensor& x);  // 1/x
Tensor Square(const Tensor& x);
Tensor Tanh(const Tensor& x);
Tensor Sigmoid(const Tensor& x);  // 1/(1+e^-x)
Tensor Silu(const Tensor& x);     // x*Sigmoid(x)

// y += alpha * x, with x broadcast to y. Any float dtypes; the sum is formed in y's type of arithmetic. y must not be
// an expanded view (its elements would be added to more than once).
void AddInPlace(Tensor& y, const Tensor& x, double alpha = 1);
// x *= s, and x *= g with g broadcast to x (a vector [d] scales the columns of x [n, d]). Same dtype.
void ScaleInPlace(Tensor& x, double s);
void MulInPlace(Tensor& x, const Tensor& g);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_ELEMENTWISE_H_
