// Cross-entropy of logits against target classes, row by row.
//
//   auto [losses, correct] = CrossEntropy(logits, targets);              // [n, vocab], i32 [n] -> f32 [n], i32 [n]
//   CrossEntropyInto(logits, targets, scale, 0, dlogits);                // the same, and the gradient
//
//   losses[i]  = ln sum_j e^z[i,j] - z[i,t],   t = targets[i],  z = softcap * tanh(logits / softcap), or logits if it
//                is 0
//   correct[i] = 1 if ArgMax(z[i]) == t, else 0
//   dlogits    = scale * (softmax(z) - onehot(t)) * dz/dlogits
//
// losses is f64 for f64 logits. Arithmetic in f32 (f64 for f64), with each row's maximum taken off before exponentials:
// logits of +-10^4 are fine. A target of -1 is ignored: its loss, correct and gradient are 0; so all ignored gives
// zeros. Other targets outside the vocabulary abort, with their position. A NaN logit makes its row's loss NaN.
#ifndef LORIKEET_TENSOR_OPS_CROSS_ENTROPY_H_
#define LORIKEET_TENSOR_OPS_CROSS_ENTROPY_H_

#include "tensor/tensor.h"

namespace lorikeet::tensor {

struct CrossEntropyResult {
  Tensor losses;   // [n], not yet scaled or summed
  Tensor correct;  // i32 [n]
};

CrossEntropyResult CrossEntropy(const Tensor& logits, const Tensor& targets, double softcap = 0);

// One parallel pass over the rows. scale is one number of losses' dtype on their device: what differs from step to step
// is read when the kernel runs, so that its launch may be repeated (tensor/cuda_graph.h). dlogits has logits' shape, is
// contiguous, of any float dtype (f64 with f64), and may be logits itself.
CrossEntropyResult CrossEntropyInto(const Tensor& logits, const Tensor& targets, const Tensor& scale, double softcap,
                                    Tensor& dlogits);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_CROSS_ENTROPY_H_
