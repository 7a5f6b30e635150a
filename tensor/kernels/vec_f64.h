// tensor/kernels/vec_f32.h in double, under the same names, so that one template is the kernel for both. f64 is there
// for gradient checks: plain loops over <cmath>, exact rather than fast.
//
//   template <typename C> void Halve(const C* x, C* y, int64_t n) { internal::VecBinary(BinaryOp::kMul, ...); }
//
// Threads: any.
#ifndef LORIKEET_TENSOR_KERNELS_VEC_F64_H_
#define LORIKEET_TENSOR_KERNELS_VEC_F64_H_

#include <cstdint>

#include "tensor/kernels/elementwise_op.h"

namespace lorikeet::internal {

void VecUnary(UnaryOp op, const double* x, double* y, int64_t n);
void VecBinary(BinaryOp op, const double* a, const double* b, double* y, int64_t n);

double VecMax(const double* x, int64_t n);
double VecExpSum(const double* x, double shift, double* y, int64_t n);

void VecScaledExp(const double* x, double shift, double factor, double* y, int64_t n);

void VecSwiGlu(const double* gate, const double* up, double* y, int64_t n);
void VecSwiGluGrad(const double* dy, const double* gate, const double* up, double* dgate, double* dup, int64_t n);
void VecGeGlu(const double* gate, const double* up, double* y, int64_t n);
void VecGeGluGrad(const double* dy, const double* gate, const double* up, double* dgate, double* dup, int64_t n);
void VecGelu(const double* x, double* y, int64_t n);
void VecGeluGrad(const double* dy, const double* x, double* dx, int64_t n);
void VecScaleGrad(const double* dy, const double* x, const double* g, double* dx, double* dot, int64_t n);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_VEC_F64_H_
