// AdamW's update: the contract of a backend.
//
//   g = grad_scale g, which is not stored
//   m = beta1 m + (1 - beta1) g
//   v = beta2 v + (1 - beta2) g^2
//   p = p (1 - lr weight_decay) - lr c2/c1 m / (sqrt(v) + eps c2)        c1 = 1 - beta1^t,  c2 = sqrt(1 - beta2^t)
//
// (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019; decay before the step, as torch.optim.AdamW has
// it. Eps is added to sqrt(v)/c2 there, which is the same number.) One pass over the four arrays of every segment. The
// views of a segment are contiguous, of the same size and of one dtype, f32 or f64; no two segments overlap. Constants
// are formed in f64 and rounded to that dtype once; the arithmetic rounds after each operation and is the same for
// every element, so the bits depend neither on how the parameters are cut into segments nor on the number of threads.
#ifndef LORIKEET_TENSOR_KERNELS_ADAMW_H_
#define LORIKEET_TENSOR_KERNELS_ADAMW_H_

#include <cstdint>

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct AdamWStep {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double c1 = 1, c2 = 1;
  double grad_scale = 1;         // of clipping
  const double* gate = nullptr;  // CUDA, in the device's memory: instead of grad_scale. NaN: nothing is written
};

struct AdamWSegment {
  View g, p, m, v;
  double lr = 0, weight_decay = 0;
};

struct AdamWKernels {
  void (*step)(const AdamWSegment* segments, int64_t count, const AdamWStep& step, LaunchContext) = nullptr;
  // One segment, on the calling thread: for loops that decode the moments block by block. CPU only.
  void (*update)(const AdamWSegment& segment, const AdamWStep& step) = nullptr;
};

extern const AdamWKernels kCpuAdamW;
extern const AdamWKernels kCudaAdamW;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_ADAMW_H_
