// Layer normalisation of rows: the contract of a backend.
//
//   layer_norm       y = w * xr + b,  xr = (x - m)*r,  m = mean(x),  r = 1/sqrt(mean((x - m)^2) + eps) per row
//                    x, y [rows, d], w, b [d], mean [rows] = m, rstd [rows] = r
//   layer_norm_grad  dx = r*(w*dy - mean(w*dy) - xr*mean(w*dy*xr));   dw = sum over rows of dy*xr,  db = of dy
//
// dw and db come together or are absent: rank 0.
// dtypes: x, y, dy and dx agree: f64, f32, bf16 or f16. w and b are of the same, or f32 beside bf16 and f16. mean,
// rstd, dw and db are f32 (f64 for f64). Arithmetic is in f32 (f64 for f64), rounded once; a row whose sums overflow
// f32 is summed in f64. NaN spoils its own row only. Strides are arbitrary; outputs overlap no input, but dx may be dy.
// Threads: dw and db are summed in chunks of rows that depend on the shape alone, then over chunks in order. Source:
// Ba, Kiros and Hinton, "Layer normalization", 2016.
#ifndef LORIKEET_TENSOR_KERNELS_LAYER_NORM_H_
#define LORIKEET_TENSOR_KERNELS_LAYER_NORM_H_

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct LayerNormKernels {
  void (*layer_norm)(View x, View w, View b, float eps, View y, View mean, View rstd, LaunchContext) = nullptr;
  void (*layer_norm_grad)(View dy, View x, View w, View mean, View rstd, View dx, View dw, View db,
                          LaunchContext) = nullptr;
};

extern const LayerNormKernels kCpuLayerNorm;
extern const LayerNormKernels kCudaLayerNorm;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_LAYER_NORM_H_
