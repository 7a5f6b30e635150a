// The arithmetic that a training step cannot do without: the numerator of "fraction of peak".
//
//   StepFlops s;
//   s.frozen_linear_weights = 106168320;  s.adapter_weights = 4884480;  s.tokens = 1024;  ...
//   const double fraction = UsefulFlopsPerStep(s) / seconds / peak_flops;
//
// One multiplication and one addition count as two. A product with a weight matrix of n elements costs, per token,
//   2n   forward,   2n   the gradient of its input,   2n   the gradient of the weight,
// so a frozen weight costs 4n and a trained one 6n. Attention, for one head of one sequence of T tokens that is causal,
// has P = T(T+1)/2 pairs of query and key, and costs 2·P·d for each product of that shape: q·k and p·v forward, and dp,
// dv, dq, dk backward (6 in all; that a flash-style backward computes q·k again does not count). Of the head, only the
// rows with a target are computed, in 4n (frozen) or 6n (trained). Recomputation, norms, activations, softmax, the
// optimizer and decoding of packed weights do not count; nor does the first layer's input gradient get subtracted.
// Errors: none. Threads: any.
#ifndef LORIKEET_APPS_TRAINING_USEFUL_FLOPS_H_
#define LORIKEET_APPS_TRAINING_USEFUL_FLOPS_H_

#include <cstdint>

#include "absl/types/span.h"

namespace lorikeet {

struct StepFlops {
  int64_t frozen_linear_weights = 0;   // elements of the linear maps that do not train, without the head
  int64_t trained_linear_weights = 0;  // full fine-tuning's: elements of those that do, without the head
  int64_t adapter_weights = 0;         // A, B and DoRA's magnitudes
  int64_t tokens = 0;                  // of the step, through every layer
  int64_t layers = 0, heads = 0, head_dim = 0;
  int64_t causal_pairs = 0;  // of the step: CausalPairs of every sequence
  int64_t head_weights = 0;  // vocabulary × width
  bool head_trained = false;
  int64_t target_rows = 0;  // tokens with a loss
};

// The sum of T(T+1)/2 over sequences that begin and end at cu_seqlens [sequences + 1].
int64_t CausalPairs(absl::Span<const int32_t> cu_seqlens);

double UsefulFlopsPerStep(const StepFlops& step);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_USEFUL_FLOPS_H_
