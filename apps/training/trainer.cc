#include "apps/training/trainer.h"

#include <chrono>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apps/training/model_batch.h"
#include "apps/training/useful_flops.h"
#include "autograd/tape.h"
#include "nn/linear_cross_entropy.h"
#include "optim/clip.h"

namespace lorikeet {

Trainer::Trainer(CausalLm& model, std::vector<Parameter*> parameters, AdamW& optimizer, const Schedule& schedule,
                 AdapterRun* run, const text::SequenceStream& stream, const TrainerOptions& options)
    : model_(model),
      parameters_(std::move(parameters)),
      optimizer_(optimizer),
      schedule_(schedule),
      run_(run),
      stream_(stream),
      options_(options) {}

absl::Status Trainer::AccumulateGradients(int64_t step, StepResult* result) {
  std::vector<ModelBatch> micro_batches;
  std::vector<RowLosses> losses(static_cast<size_t>(options_.gradient_accumulation_steps));
  const int64_t first = step * options_.gradient_accumulation_steps * options_.batch_size;
  for (int64_t i = 0; i < options_.gradient_accumulation_steps; ++i) {
    const text::Batch rows = stream_.Get(first + i * options_.batch_size, options_.batch_size);
    micro_batches.push_back(ToModelBatch(rows, model_.device()));
    result->tokens += micro_batches.back().inputs.tokens.size();
    result->answer_tokens += micro_batches.back().num_targets;
    result->causal_pairs += CausalPairs(rows.cu_seqlens);
  }
  // The mean over the answer tokens of the whole step, whatever the split into micro-batches.
  const float scale = static_cast<float>(1.0 / static_cast<double>(result->answer_tokens));
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    if (run_ != nullptr) run_->key = options_.key.Fold(static_cast<uint64_t>(step)).Fold(i);
    Tape tape;
    const ModelBatch& b = micro_batches[i];
    const Variable loss = LinearCrossEntropy(model_.Hidden(b.inputs, nullptr), model_.head(), b.targets,
                                             {.scale = scale, .softcap = model_.config().final_softcap}, &losses[i]);
    tape.Backward(loss, Tensor::Scalar(1, loss.dtype()));
  }
  for (const RowLosses& rows : losses) result->loss += CountLosses(rows).loss_sum * scale;
  if (std::isfinite(result->loss)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("step ", step + 1, ": the loss is ", result->loss,
                   "; nothing was updated. Lower --learning_rate, or look at this step's rows"));
}

absl::StatusOr<StepResult> Trainer::Step(int64_t step) {
  const auto start = std::chrono::steady_clock::now();
  StepResult result;
  result.step = step;
  if (run_ != nullptr) {
    run_->training = true;
    run_->weights_version = static_cast<uint64_t>(step) + 1;
  }
  absl::Status status = AccumulateGradients(step, &result);
  if (run_ != nullptr) run_->training = false;
  if (status.ok()) {
    result.grad_norm = ClipGradNorm(parameters_, options_.max_grad_norm);
    if (!std::isfinite(result.grad_norm)) {
      status = absl::FailedPreconditionError(
          absl::StrCat("step ", step + 1, ": the gradient's norm is ", result.grad_norm,
                       "; nothing was updated. Lower --learning_rate, or look at this step's rows"));
    }
  }
  if (status.ok()) {
    result.learning_rate = schedule_.Rate(step);
    status = optimizer_.Step(result.learning_rate);
    if (run_ != nullptr) run_->weights_version = static_cast<uint64_t>(step) + 2;
  }
  for (Parameter* p : parameters_) p->ZeroGrad();
  if (!status.ok()) return status;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace lorikeet
