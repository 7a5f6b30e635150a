// Arithmetic on contiguous runs of floats, in the widest instructions that the processor has (Highway, chosen at run
// time): what CPU kernels do once dtypes, strides and threads are dealt with.
//
//   internal::VecUnary(UnaryOp::kExp, x, y, n);       // y may be x
//
// An element's result depends neither on its place in the run nor on the instruction set's width. exp is within 1 ulp,
// log and tanh within 4; special values are those of <cmath>. Threads: any.
#ifndef LORIKEET_TENSOR_KERNELS_VEC_F32_H_
#define LORIKEET_TENSOR_KERNELS_VEC_F32_H_

#include <cstdint>

#include "tensor/kernels/elementwise_op.h"

namespace lorikeet::internal {

void VecUnary(UnaryOp op, const float* x, float* y, int64_t n);
void VecBinary(BinaryOp op, const float* a, const float* b, float* y, int64_t n);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_VEC_F32_H_
