#include "apps/training/trainer.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apps/training/model_batch.h"
#include "apps/training/useful_flops.h"
#include "autograd/parameter_casts.h"
#include "autograd/tape.h"
#include "nn/linear_cross_entropy.h"
#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/reduce.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

Tensor InMemory(const RngKey& key, Device device) {
  uint8_t bytes[sizeof key];
  std::memcpy(bytes, &key, sizeof key);
  return Tensor::From<uint8_t>(bytes, {sizeof key}, device);
}

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

absl::Status NotFinite(int64_t step, const char* what, double value) {
  return absl::FailedPreconditionError(
      absl::StrCat("step ", step + 1, ": the ", what, " is ", value,
                   "; nothing was updated. Lower --learning_rate, or look at this step's rows"));
}

}  // namespace

Trainer::Trainer(CausalLm& model, std::vector<Parameter*> parameters, AdamW& optimizer, const Schedule& schedule,
                 AdapterRun* run, const text::SequenceStream& stream, const TrainerOptions& options)
    : model_(model),
      parameters_(std::move(parameters)),
      optimizer_(optimizer),
      schedule_(schedule),
      run_(run),
      stream_(stream),
      options_(options),
      gate_(options.max_grad_norm, model.device()) {
  LORIKEET_CHECK_EQ(options_.gradient_accumulation_steps % ranks(), 0) << "micro-batches of " << ranks() << " ranks";
  if (ranks() > 1) gradient_sum_ = std::make_unique<GradientSum>(options_.ranks, parameters_, options_.nccl);
  if (!options.cuda_graphs || !model_.device().is_cuda()) return;
  graphs_ = std::make_unique<StepGraphs>(parameters_, [this](const MicroBatch& b) { return ForwardAndBackward(b); });
}

RngKey Trainer::DropoutKey(int64_t step, size_t own) const {
  const uint64_t micro_batch = own * static_cast<uint64_t>(ranks()) + static_cast<uint64_t>(rank());
  return options_.key.Fold(static_cast<uint64_t>(step)).Fold(micro_batch);
}

// All micro-batches, before the first one runs, and those of the other ranks, too: a step's loss is the mean over the
// answer tokens of the whole step, whatever the split.
Trainer::Inputs Trainer::InputsOf(int64_t step) const {
  Inputs out;
  out.counts.step = step;
  const Device device = model_.device();
  const int64_t first = step * options_.gradient_accumulation_steps * options_.batch_size;
  std::vector<ModelBatch> batches;
  for (int64_t i = 0; i < options_.gradient_accumulation_steps; ++i) {
    text::Batch rows = stream_.Get(first + i * options_.batch_size, options_.batch_size);
    out.counts.tokens += static_cast<int64_t>(rows.tokens.size());
    out.counts.answer_tokens += rows.num_targets();
    out.counts.causal_pairs += CausalPairs(rows.cu_seqlens);
    if (i % ranks() != rank()) continue;
    if (graphs_ != nullptr) {
      const int64_t tokens = StepGraphs::Tokens(static_cast<int64_t>(rows.tokens.size()));
      const int64_t sequences = StepGraphs::Sequences(static_cast<int64_t>(rows.cu_seqlens.size()));
      rows = Padded(std::move(rows), tokens, sequences);
    }
    batches.push_back(ToModelBatch(rows, device));
  }
  const double scale = 1.0 / static_cast<double>(out.counts.answer_tokens);
  for (const ModelBatch& b : batches) {
    MicroBatch m;
    m.inputs = b.inputs;
    m.answers = FindAnswers(b.targets, scale, LossDType(model_.compute_dtype()), device,
                            graphs_ == nullptr ? 1 : StepGraphs::AnswerUnit(b.targets.size()));
    if (graphs_ != nullptr) m.key = InMemory(DropoutKey(step, out.micro_batches.size()), device);
    out.micro_batches.push_back(std::move(m));
  }
  return out;
}

Trainer::Inputs Trainer::TakeInputs(int64_t step) {
  if (next_ && next_->counts.step == step) return *std::exchange(next_, std::nullopt);
  return InputsOf(step);
}

RowLosses Trainer::ForwardAndBackward(const MicroBatch& b) {
  // A graph has to find what depends on the weights itself: in later steps no other pass may have.
  if (graphs_ != nullptr && run_ != nullptr) ++run_->weights_version;
  if (run_ != nullptr) run_->key_in_memory = b.key.defined() ? static_cast<const RngKey*>(b.key.raw()) : nullptr;
  const ParameterCasts casts(parameters_, model_.compute_dtype());
  Tape tape;
  RowLosses losses;
  const Variable loss = LinearCrossEntropy(model_.Hidden(b.inputs, nullptr), model_.head(), b.answers,
                                           {.softcap = model_.config().final_softcap}, &losses);
  tape.Backward(loss, Tensor::Scalar(1, loss.dtype()));
  if (run_ != nullptr) run_->key_in_memory = nullptr;
  return losses;
}

absl::StatusOr<Trainer::Losses> Trainer::SubmitPasses(int64_t step, StepResult* result) {
  const Inputs inputs = TakeInputs(step);
  *result = inputs.counts;
  if (result->answer_tokens == 0) {
    return absl::InvalidArgumentError(absl::StrCat("step ", step + 1, ": its rows have no token to learn"));
  }
  if (graphs_ != nullptr) graphs_->BeginStep();
  Losses losses;
  for (size_t i = 0; i < inputs.micro_batches.size(); ++i) {
    if (run_ != nullptr) run_->key = DropoutKey(step, i);
    const MicroBatch& b = inputs.micro_batches[i];
    losses.own.push_back((graphs_ != nullptr ? graphs_->Run(b) : ForwardAndBackward(b)).losses);
  }
  losses.all = losses.own;
  if (gradient_sum_ == nullptr) return losses;
  if (absl::Status s = SumOverRanks(&losses); !s.ok()) {
    DropGradients();
    return Lost(s);
  }
  return losses;
}

// A rank is lost: the GPU must not wait for it.
absl::Status Trainer::Lost(absl::Status status) {
  if (options_.nccl != nullptr) options_.nccl->Abort();
  return status;
}

// The gradients become those of all ranks. The losses' sum goes with them, in f32, for the device to look at; what is
// reported the host adds up later, in f64.
absl::Status Trainer::SumOverRanks(Losses* losses) {
  std::vector<Tensor> rows;
  for (const Tensor& t : losses->own) rows.push_back(t.Cast(DType::kF32));
  losses->all = {tensor::Sum(tensor::Concat(rows, 0), {0}, /*keepdim=*/true)};
  return gradient_sum_->Add(losses->all);
}

absl::Status Trainer::MeanLoss(absl::Span<const Tensor> own, StepResult* result) {
  double sum = 0;
  for (const Tensor& rows : own) {
    const Tensor wide = rows.Cast(DType::kF64);
    for (const double loss : wide.data<double>()) sum += loss;
  }
  if (options_.ranks != nullptr) {
    if (absl::Status s = options_.ranks->Sum(absl::MakeSpan(&sum, 1)); !s.ok()) return Lost(s);
  }
  result->loss = sum / static_cast<double>(result->answer_tokens);
  if (std::isfinite(result->loss)) return absl::OkStatus();
  return NotFinite(result->step, "loss", result->loss);
}

absl::Status Trainer::AccumulateGradients(int64_t step, StepResult* result) {
  const absl::StatusOr<Losses> losses = SubmitPasses(step, result);
  if (!losses.ok()) return losses.status();
  HostCopy here(losses->own);
  return MeanLoss(here.Wait(), result);
}

void Trainer::DropGradients() {
  if (graphs_ != nullptr) return graphs_->EndStep();
  for (Parameter* p : parameters_) p->ZeroGrad();
}

int64_t Trainer::ahead() const { return gate_.scale().device().is_cuda() ? 1 : 0; }

absl::Status Trainer::Submit(int64_t step) {
  const auto submitted = std::chrono::steady_clock::now();
  StepResult result;
  if (run_ != nullptr) {
    run_->training = true;
    ++run_->weights_version;
  }
  const absl::StatusOr<Losses> losses = SubmitPasses(step, &result);
  if (run_ != nullptr) run_->training = false;
  if (!losses.ok()) return losses.status();
  const GradNorm norm(parameters_, losses->all);
  gate_.Look(norm);
  std::vector<Tensor> values = losses->own;
  values.push_back(norm.sums());
  HostCopy copy(values);
  result.learning_rate = schedule_.Rate(step);
  const absl::Status status = optimizer_.Step(result.learning_rate, gate_.scale());
  if (run_ != nullptr) ++run_->weights_version;  // after a failure too: what a capture kept, a launch overwrites
  DropGradients();
  if (!status.ok()) return status;
  in_flight_.push_back({result, norm, std::move(copy), submitted, SecondsSince(submitted)});
  if (model_.device().is_cuda()) next_ = InputsOf(step + 1);
  return absl::OkStatus();
}

absl::Status Trainer::Read(InFlight& step) {
  const absl::Span<const Tensor> values = step.values.Wait();
  StepResult& r = step.result;
  if (absl::Status s = MeanLoss(values.first(values.size() - 1), &r); !s.ok()) return s;
  r.grad_norm = step.norm.Of(values.back());
  return std::isfinite(r.grad_norm) ? absl::OkStatus() : NotFinite(r.step, "gradient's norm", r.grad_norm);
}

// No step in flight has updated anything.
void Trainer::RollBack() {
  optimizer_.UndoStepCount(in_flight());
  in_flight_.clear();
  gate_.Open();
}

absl::StatusOr<StepResult> Trainer::Finish() {
  LORIKEET_CHECK(!in_flight_.empty()) << "Trainer::Finish: no step is in flight";
  if (absl::Status s = Read(in_flight_.front()); !s.ok()) {
    RollBack();
    return s;
  }
  InFlight step = std::move(in_flight_.front());
  in_flight_.pop_front();
  step.result.seconds = SecondsOf(step);
  finished_ = std::chrono::steady_clock::now();
  before_.emplace(std::move(step.values));
  return step.result;
}

// The host may see several steps done at once: how long one of them took, the device knows.
double Trainer::SecondsOf(const InFlight& step) const {
  if (model_.device().is_cpu()) return step.submission_seconds;
  return step.submitted < finished_ ? step.values.SecondsSince(*before_) : SecondsSince(step.submitted);
}

absl::StatusOr<StepResult> Trainer::Step(int64_t step) {
  if (absl::Status s = Submit(step); !s.ok()) return s;
  return Finish();
}

}  // namespace lorikeet
