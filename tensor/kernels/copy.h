// Copies: strided to strided, with conversion between any two dtypes, and filling. The contract of a backend.
//
//   copy      y[i] = convert(x[i]); same dims, any strides (x may repeat with stride 0), any dtypes. Floats round to
//             nearest even; float to integer truncates toward zero. x and y do not overlap, unless they are the same
//             view.
//   copy_all  copy, of ys[j] = xs[j] for j < count: in few launches where dtypes and strides are those of many small
//             parameters, contiguous and from f32 to a 16-bit float
//   fill      y[i] = value, rounded to y's dtype.
//   transfer  the same contiguous bytes on another device (CUDA backends only). On return host memory may be read, or
//             written again.
#ifndef LORIKEET_TENSOR_KERNELS_COPY_H_
#define LORIKEET_TENSOR_KERNELS_COPY_H_

#include <cstdint>

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct CopyKernels {
  void (*copy)(View x, View y, LaunchContext) = nullptr;
  void (*copy_all)(const View* xs, const View* ys, int64_t count, LaunchContext) = nullptr;
  void (*fill)(View y, double value, LaunchContext) = nullptr;
  void (*transfer)(View x, bool x_on_device, View y, bool y_on_device, LaunchContext) = nullptr;
};

extern const CopyKernels kCpuCopy;
extern const CopyKernels kCudaCopy;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_COPY_H_
