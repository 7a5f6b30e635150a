// Reductions: the contract of a backend.
//
//   reduce       y[k] = scale * sum_r x[k, r], or max_r x[k, r]: x's first dims are y's, its other dims are reduced
//   row_dot      y[i] = sum_j a[i, j] * b[i, j]                a, b [n, d] of any float dtypes, y [n] f32 or f64
//   sum_squares  y[0] = sum of x[i]^2                          y is one f64
//   sum_squares_each  y[i] = sum of xs[i]'s squares            xs f32 or f64 (CUDA: f32), contiguous; y f64 [count]
//   all_finite   y[0] = 1 if no element is NaN or infinite, else 0     y is one i32
//   arg_max      y[i] = first index of the largest x[i, j]     x [n, d], d > 0, y [n] i32; a NaN is larger than any
//   number
//
// Views may be strided. Sums are kept in f64 on the CPU, in f32 or better elsewhere (sums of squares: in f64
// everywhere), in an order that depends on the dims and strides only. The sum of nothing is 0, max of nothing is not
// asked for. A maximum with a NaN among its elements is NaN.
#ifndef LORIKEET_TENSOR_KERNELS_REDUCE_H_
#define LORIKEET_TENSOR_KERNELS_REDUCE_H_

#include <cstdint>

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

enum class ReduceOp : uint8_t { kSum, kMax };

struct ReduceKernels {
  void (*reduce)(ReduceOp op, View x, double scale, View y, LaunchContext) = nullptr;
  void (*row_dot)(View a, View b, View y, LaunchContext) = nullptr;
  void (*sum_squares)(View x, View y, LaunchContext) = nullptr;
  void (*sum_squares_each)(const View* xs, int64_t count, View y, LaunchContext) = nullptr;
  void (*all_finite)(View x, View y, LaunchContext) = nullptr;
  void (*arg_max)(View x, View y, LaunchContext) = nullptr;
};

extern const ReduceKernels kCpuReduce;
extern const ReduceKernels kCudaReduce;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_REDUCE_H_
