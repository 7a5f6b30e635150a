#include "apps/training/evaluate.h"

#include "apps/text/batches.h"
#include "apps/training/model_batch.h"
#include "autograd/tape.h"
#include "autograd/variable.h"

namespace lorikeet {

EvalResult EvaluateLoss(CausalLm& model, const std::vector<text::Example>& examples, int64_t max_tokens) {
  Tape::Pause pause;
  EvalResult result;
  for (size_t i = 0; i < examples.size();) {
    std::vector<const text::Example*> group;
    int64_t tokens = 0;
    do {
      tokens += static_cast<int64_t>(examples[i].tokens.size());
      group.push_back(&examples[i++]);
    } while (i < examples.size() && tokens + static_cast<int64_t>(examples[i].tokens.size()) <= max_tokens);
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

}  // namespace lorikeet
