// Held-out loss: mean cross-entropy and accuracy over the answer tokens of a set of examples.
//
//   EvalResult r = EvaluateLoss(model, eval.examples, /*max_tokens=*/2048);
//   absl::StatusOr<EvalResult> shared = EvaluateLoss(model, eval.examples, 2048, ranks);
//   std::printf("loss %.4f, perplexity %.2f\n", r.loss(), r.perplexity());
//
// Examples are taken in order, as many at a time as fit max_tokens (one at least). Touches no randomness and records
// nothing, so a run that evaluates trains the same as one that does not. Several ranks share the batches, and all
// get the result, to the same bits. DeadlineExceeded: one is lost.
#ifndef LORIKEET_APPS_TRAINING_EVALUATE_H_
#define LORIKEET_APPS_TRAINING_EVALUATE_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "apps/parallel/ranks.h"
#include "apps/text/dataset.h"
#include "nn/causal_lm.h"
#include "nn/linear_cross_entropy.h"

namespace lorikeet {

struct EvalResult {
  LossCounts counts;
  int64_t examples = 0;

  double loss() const {
    return counts.tokens > 0 ? counts.loss_sum / static_cast<double>(counts.tokens) : std::nan("");
  }
  double perplexity() const { return std::exp(loss()); }
  double accuracy() const {
    return counts.tokens > 0 ? static_cast<double>(counts.correct) / static_cast<double>(counts.tokens) : std::nan("");
  }
};

EvalResult EvaluateLoss(CausalLm& model, const std::vector<text::Example>& examples, int64_t max_tokens);
absl::StatusOr<EvalResult> EvaluateLoss(CausalLm& model, const std::vector<text::Example>& examples, int64_t max_tokens,
                                        Ranks& ranks);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_EVALUATE_H_
