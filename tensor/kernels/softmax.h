// Softmax over rows: the contract of a backend.
//
//   softmax           y = e^(x - m) / s,    m = max x,  s = sum e^(x - m)
//   log_softmax       y = x - m - ln s
//   softmax_grad      dx = y * (dy - sum dy * y)
//   log_softmax_grad  dx = dy - e^y * sum dy
//
// All views are contiguous, [n, d], of one float dtype; arithmetic in f32 (f64 for f64), rounded once. y may be x; dx
// may be dy or y. A row of -infinity has softmax 0, log-softmax -infinity and gradient 0: a position that may attend to
// nothing gets nothing. A NaN or +infinity makes its row NaN.
#ifndef LORIKEET_TENSOR_KERNELS_SOFTMAX_H_
#define LORIKEET_TENSOR_KERNELS_SOFTMAX_H_

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct SoftmaxKernels {
  void (*softmax)(View x, View y, LaunchContext) = nullptr;
  void (*log_softmax)(View x, View y, LaunchContext) = nullptr;
  void (*softmax_grad)(View dy, View y, View dx, LaunchContext) = nullptr;
  void (*log_softmax_grad)(View dy, View y, View dx, LaunchContext) = nullptr;
};

extern const SoftmaxKernels kCpuSoftmax;
extern const SoftmaxKernels kCudaSoftmax;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_SOFTMAX_H_
