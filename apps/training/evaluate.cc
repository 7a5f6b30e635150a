#include "apps/training/evaluate.h"

#include "absl/types/span.h"
#include "apps/text/batches.h"
#include "apps/training/model_batch.h"
#include "autograd/tape.h"
#include "autograd/variable.h"

namespace lorikeet {

namespace {

// Of every count-th batch, from the index-th on.
EvalResult EvaluateShare(CausalLm& model, const std::vector<text::Example>& examples, int64_t max_tokens, int index,
                         int count) {
  Tape::Pause pause;
  EvalResult result;
  int turn = 0;
  for (size_t i = 0; i < examples.size();) {
    std::vector<const text::Example*> group;
    int64_t tokens = 0;
    do {
      tokens += static_cast<int64_t>(examples[i].tokens.size());
      group.push_back(&examples[i++]);
    } while (i < examples.size() && tokens + static_cast<int64_t>(examples[i].tokens.size()) <= max_tokens);
    if (turn++ % count != index) continue;
    const ModelBatch batch = ToModelBatch(text::MakeBatch(group), model.device());
    RowLosses rows;
    LinearCrossEntropy(model.Hidden(batch.inputs, nullptr), model.head(), batch.targets,
                       {.softcap = model.config().final_softcap}, &rows);
    const LossCounts counts = CountLosses(rows);
    result.counts.loss_sum += counts.loss_sum;
    result.counts.tokens += counts.tokens;
    result.counts.correct += counts.correct;
    result.examples += static_cast<int64_t>(group.size());
  }
  return result;
}

}  // namespace

EvalResult EvaluateLoss(CausalLm& model, const std::vector<text::Example>& examples, int64_t max_tokens) {
  return EvaluateShare(model, examples, max_tokens, 0, 1);
}

absl::StatusOr<EvalResult> EvaluateLoss(CausalLm& model, const std::vector<text::Example>& examples, int64_t max_tokens,
                                        Ranks& ranks) {
  EvalResult result = EvaluateShare(model, examples, max_tokens, ranks.rank(), ranks.size());
  // Counts are whole numbers below 2^53.
  double sums[] = {result.counts.loss_sum, static_cast<double>(result.counts.tokens),
                   static_cast<double>(result.counts.correct), static_cast<double>(result.examples)};
  if (absl::Status s = ranks.Sum(absl::MakeSpan(sums)); !s.ok()) return s;
  result.counts.loss_sum = sums[0];
  result.counts.tokens = static_cast<int64_t>(sums[1]);
  result.counts.correct = static_cast<int64_t>(sums[2]);
  result.examples = static_cast<int64_t>(sums[3]);
  return result;
}

}  // namespace lorikeet
