// Cross-entropy of logits against target classes, row by row.
//
//   auto [losses, correct] = CrossEntropy(logits, targets);              // [n, vocab], i32 [n] -> f32 [n], i32 [n]
//   CrossEntropyInPlace(logits, targets, 1.0 / answer_tokens);           // the same, and logits become their gradient
//
//   losses[i]  = ln sum_j e^z[i,j] - z[i,t],   t = targets[i],  z = softcap * tanh(logits / softcap), or logits if it
//   is 0 correct[i] = 1 if ArgMax(z[i]) == t, else 0 gradient   = scale * (softmax(z) - onehot(t)) * dz/dlogits
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

// One parallel pass over the rows. logits must be contiguous; nothing else may need them any more.
CrossEntropyResult CrossEntropyInPlace(Tensor& logits, const Tensor& targets, double scale, double softcap = 0);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_CROSS_ENTROPY_H_
