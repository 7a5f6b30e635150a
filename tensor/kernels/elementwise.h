// Elementwise arithmetic: the contract of a backend.
//
//   unary          y[i] = op(x[i])
//   binary         y[i] = op(a[i], b[i])
//   binary_scalar  y[i] = op(x[i], s)
//   add_in_place   y[i] += alpha * x[i]
//
// All views of a call have the same dims (a broadcast operand repeats with stride 0) and any strides; y repeats
// nowhere. All have one float dtype, but for add_in_place, whose x may have another one than y. Arithmetic is done in
// f32 (f64 for f64) and rounded once. y may be the same view as an operand, but must not overlap one otherwise. NaN and
// infinity propagate as IEEE 754 has it: kMaximum and kMinimum of a NaN are NaN, kLog of a negative number is NaN, x /
// 0 is infinite. A scalar is rounded to the type of the arithmetic first.
#ifndef LORIKEET_TENSOR_KERNELS_ELEMENTWISE_H_
#define LORIKEET_TENSOR_KERNELS_ELEMENTWISE_H_

#include "tensor/kernels/elementwise_op.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct ElementwiseKernels {
  void (*unary)(UnaryOp op, View x, View y, LaunchContext) = nullptr;
  void (*binary)(BinaryOp op, View a, View b, View y, LaunchContext) = nullptr;
  void (*binary_scalar)(BinaryOp op, View x, double s, View y, LaunchContext) = nullptr;
  void (*add_in_place)(View x, double alpha, View y, LaunchContext) = nullptr;
};

extern const ElementwiseKernels kCpuElementwise;
extern const ElementwiseKernels kCudaElementwise;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_ELEMENTWISE_H_
