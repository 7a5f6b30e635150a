// What a model makes of some examples: the logits of the last positions, to be compared with another form of the same
// model (logit_error.h), and the perplexity.
//
//   Readout before = ReadModel(*model, examples, /*rows=*/16), after = ReadModel(*merged, examples, 16);
//   CompareLogits(before.logits, after.logits).max;   after.perplexity();
//
// The model runs over as many examples at a time as fit 2048 tokens; logits exist for 64 positions at a time. Loss is
// counted where the examples' masks say. Touches no randomness and records nothing.
#ifndef LORIKEET_APPS_MODEL_READOUT_H_
#define LORIKEET_APPS_MODEL_READOUT_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "apps/text/dataset.h"
#include "nn/causal_lm.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct Readout {
  std::vector<Tensor> logits;  // of each example, f32 [at most rows, vocab]
  double loss_sum = 0;         // nats
  int64_t tokens = 0;          // with loss

  double perplexity() const { return tokens > 0 ? std::exp(loss_sum / static_cast<double>(tokens)) : std::nan(""); }
};

// Every example has a token at least.
Readout ReadModel(CausalLm& model, const std::vector<text::Example>& examples, int64_t rows);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_READOUT_H_
