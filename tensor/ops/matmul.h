// Matrix products of tensors.
//
//   Tensor y = MatMul(x, w, false, true);                     // y = x*W^T    x [M,K], w [N,K] -> y [M,N]
//   MatMulInto(dw, dy, true, x, false, 1, 1);                 // dW += dy^T*x, straight into the gradient
//   MatMulPanels(y, x, source, true, {});                     // y = x*W^T, W decoded while it is packed
//   MatMulInto(y, x, false, w, true, {.u = u, .v = b.Transpose(0, 1)});       // y = x*W^T + u*B^T, rounded once
//
// Operands are 2-D (flatten leading dimensions first) and may have any strides. dtypes: both f64, f32, bf16 or f16; or
// a f32 and b bf16 or f16. Sums are kept in f32 (f64 for f64) and rounded once into y's dtype, which may be any float
// in the Into forms. tensor/kernels/matmul.h says more about the arithmetic and about PanelSource.
// Errors: wrong ranks, shapes, dtypes or devices abort. Threads: any; the result's bits do not depend on how many work.
#ifndef LORIKEET_TENSOR_OPS_MATMUL_H_
#define LORIKEET_TENSOR_OPS_MATMUL_H_

#include "tensor/kernels/matmul.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

// op(a)*op(b), where op transposes if asked. The result has a's dtype.
Tensor MatMul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);

// y = alpha * op(a)*op(b) + beta * y, in place. beta = 0 overwrites. y must not overlap a or b.
void MatMulInto(Tensor& y, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float alpha = 1,
                float beta = 0);

// What else a product does while its sums are at hand: y = alpha * gain * (op(a)*op(b) + u*v) + beta * y.
struct Epilogue {
  float alpha = 1, beta = 0;
  Tensor u = {}, v = {};  // [M,R] and [R,N] in a's dtype; undefined: no correction
  Tensor gain = {};       // [N], a factor for each column, f32 (f64 for f64 operands); undefined: 1
};
void MatMulInto(Tensor& y, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Epilogue& e);

// The same with x*W^T if transpose_w, else with x*W. x is bf16 or f32. CPU only.
void MatMulPanels(Tensor& y, const Tensor& x, const PanelSource& w, bool transpose_w, const Epilogue& e);

// e as kernels take it, checked against the product of a that goes into y; for ops that have a product of their own.
MatMulEpilogue ViewsOf(const char* op, const Tensor& a, const Tensor& y, const Epilogue& e);

// Whether this processor multiplies bf16 by an instruction of its own, so that bf16 is the faster dtype.
bool HasFastBF16();

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_MATMUL_H_
