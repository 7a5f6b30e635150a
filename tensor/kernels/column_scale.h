// Columns of a matrix times a factor each: the contract of a backend.
//
//   column_scale       y[t,j] = x[t,j] * g[j]
//   column_scale_grad  dx[t,j] = dy[t,j] * g[j],   dot[j] = sum_t dy[t,j] * x[t,j]
//
// x, y, dy, dx [rows, d] are of any float dtypes (f64 only with f64); g and dot [d] are f32 (f64 for f64), so that a
// factor keeps its digits beside 16-bit columns. Strides are arbitrary. y may be x, dx may be dy. A dot of rank 0 is
// not wanted. Arithmetic is in f32 (f64 for f64), rounded once; dot is summed in f32 over runs of 64 rows and in f64
// over the runs, so its bits depend on the shape alone. What dot is the gradient of is the caller's to say: of g where
// x is what was scaled.
#ifndef LORIKEET_TENSOR_KERNELS_COLUMN_SCALE_H_
#define LORIKEET_TENSOR_KERNELS_COLUMN_SCALE_H_

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct ColumnScaleKernels {
  void (*column_scale)(View x, View g, View y, LaunchContext) = nullptr;
  void (*column_scale_grad)(View dy, View x, View g, View dx, View dot, LaunchContext) = nullptr;
};

extern const ColumnScaleKernels kCpuColumnScale;
extern const ColumnScaleKernels kCudaColumnScale;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_COLUMN_SCALE_H_
