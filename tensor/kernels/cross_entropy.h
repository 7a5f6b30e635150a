// Cross-entropy of rows of logits: the contract of a backend.
//
//   z = softcap * tanh(logits / softcap), or logits if softcap is 0;  m = max z,  s = sum e^(z - m);  t = targets[i]
//   losses[i]  = m + ln s - z[t]
//   correct[i] = 1 if t is the first index of the largest z, else 0
//   dlogits[i] = scale * (e^(z - m) / s - onehot(t)) * dz/dlogits,  dz/dlogits = 1 - (z / softcap)^2
//
// logits [n, vocab] contiguous, any float dtype; dlogits the same, of any float dtype (f64 only with f64), and may be
// logits itself; targets [n] i32, contiguous; losses [n] f32 (f64 for f64 logits); correct [n] i32; scale one number of
// losses' dtype, in the same memory as they, so that the launch does not depend on it. Arithmetic in f32 (f64 for f64).
// A target of -1 is ignored: loss 0, correct 0, gradient 0. Any other target outside [0, vocab) ends the
// process. A NaN logit makes its row's loss NaN.
#ifndef LORIKEET_TENSOR_KERNELS_CROSS_ENTROPY_H_
#define LORIKEET_TENSOR_KERNELS_CROSS_ENTROPY_H_

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct CrossEntropyKernels {
  void (*loss)(View logits, View targets, double softcap, View losses, View correct, LaunchContext) = nullptr;
  void (*loss_and_grad)(View logits, View targets, View scale, double softcap, View losses, View correct, View dlogits,
                        LaunchContext) = nullptr;
};

extern const CrossEntropyKernels kCpuCrossEntropy;
extern const CrossEntropyKernels kCudaCrossEntropy;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_CROSS_ENTROPY_H_
