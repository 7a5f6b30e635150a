// Arithmetic on contiguous runs of floats, in the widest instructions that the processor has (Highway, chosen at run
// time): what CPU kernels do once dtypes, strides and threads are dealt with. What training does most takes runs of
// bf16 as well, with arithmetic in f32 and one rounding, and the bits of widening first and narrowing last.
//
//   internal::VecUnary(UnaryOp::kExp, x, y, n);       // y may be x
//
// An element's result depends neither on its place in the run nor on the instruction set's width, and sums are kept in
// 16 lanes whatever the width is. exp is within 1 ulp, log and tanh within 4; special values are those of <cmath>.
// Threads: any.
#ifndef LORIKEET_TENSOR_KERNELS_VEC_F32_H_
#define LORIKEET_TENSOR_KERNELS_VEC_F32_H_

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/elementwise_op.h"

namespace lorikeet::internal {

void VecUnary(UnaryOp op, const float* x, float* y, int64_t n);
void VecBinary(BinaryOp op, const float* a, const float* b, float* y, int64_t n);
void VecBinary(BinaryOp op, const bf16* a, const bf16* b, bf16* y, int64_t n);

// The largest element, NaN if there is one; -infinity for n = 0.
float VecMax(const float* x, int64_t n);
// y = exp(x - shift), summed. y may be x, or null if only the sum is wanted. Meant for blocks: the sum is kept in f32.
// Below -87 the exponential is 0.
float VecExpSum(const float* x, float shift, float* y, int64_t n);

// y = factor * exp(x - shift), with the same exponential. y may be x.
void VecScaledExp(const float* x, float shift, float factor, float* y, int64_t n);
void VecScaledExp(const float* x, float shift, float factor, bf16* y, int64_t n);

// y = silu(gate) * up, and its gradients. Outputs may be inputs.
void VecSwiGlu(const float* gate, const float* up, float* y, int64_t n);
void VecSwiGlu(const bf16* gate, const bf16* up, bf16* y, int64_t n);
void VecSwiGluGrad(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n);
void VecSwiGluGrad(const bf16* dy, const bf16* gate, const bf16* up, bf16* dgate, bf16* dup, int64_t n);

// y = gelu(gate) * up, and its gradients, in GELU's tanh form. Outputs may be inputs.
void VecGeGlu(const float* gate, const float* up, float* y, int64_t n);
void VecGeGlu(const bf16* gate, const bf16* up, bf16* y, int64_t n);
void VecGeGluGrad(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n);
void VecGeGluGrad(const bf16* dy, const bf16* gate, const bf16* up, bf16* dgate, bf16* dup, int64_t n);

// y = gelu(x), and its gradient. Outputs may be inputs.
void VecGelu(const float* x, float* y, int64_t n);
void VecGelu(const bf16* x, bf16* y, int64_t n);
void VecGeluGrad(const float* dy, const float* x, float* dx, int64_t n);
void VecGeluGrad(const bf16* dy, const bf16* x, bf16* dx, int64_t n);

// dx = dy * g and dot += dy * x. dx may be dy.
void VecScaleGrad(const float* dy, const float* x, const float* g, float* dx, float* dot, int64_t n);
void VecScaleGrad(const bf16* dy, const bf16* x, const float* g, bf16* dx, float* dot, int64_t n);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_VEC_F32_H_
