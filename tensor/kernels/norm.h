// Root-mean-square normalisation of rows: the contract of a backend.
//
//   rms_norm       y = w * x * r,  r = 1/sqrt(mean(x^2) + eps) per row.     x, y [rows, d], w [d], rstd [rows] = r
//                  With a residual, sum = x + residual (rounded to its dtype) takes the place of x.
//   rms_norm_grad  dx = r*(w*dy - xr*mean(w*dy*xr)) + dsum,  xr = x*r;     dw = sum over rows of dy*xr
//
// An absent view has rank 0: residual and sum come together; dsum and dw may be left out each.
// dtypes: x, y, dy, dx, residual, sum and dsum agree: f64, f32, bf16 or f16. w is of the same, or f32 beside bf16 and
// f16. rstd and dw are f32 (f64 for f64). Arithmetic is in f32 (f64 for f64), rounded once. Squares that overflow f32
// are summed in f64, so a row of 1e20 is normalised like any other; a row of zeros gives zeros; NaN spoils its own row
// only. Strides are arbitrary; outputs overlap no input, but dx may be dy, and sum may be x or residual. Threads: dw is
// summed in chunks of rows that depend on the shape alone, then over chunks in order. Source: Zhang and Sennrich, "Root
// mean square layer normalization", 2019.
#ifndef LORIKEET_TENSOR_KERNELS_NORM_H_
#define LORIKEET_TENSOR_KERNELS_NORM_H_

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct NormKernels {
  void (*rms_norm)(View x, View residual, View w, float eps, View sum, View y, View rstd, LaunchContext) = nullptr;
  void (*rms_norm_grad)(View dy, View dsum, View x, View w, View rstd, View dx, View dw, LaunchContext) = nullptr;
};

extern const NormKernels kCpuNorm;
extern const NormKernels kCudaNorm;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_NORM_H_
