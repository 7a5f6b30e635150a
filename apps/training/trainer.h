// Trainer: the loop that is the same for LoRA, QLoRA, DoRA, QDoRA and full fine-tuning.
//
//   Trainer trainer(model, TrainableParameters(model), adamw, schedule, &run, stream, options);
//   for (int64_t step = first; step < max_steps; ++step) {
//     absl::StatusOr<StepResult> r = trainer.Step(step);
//     if (!r.ok()) ...                                     // NaN (FailedPrecondition): nothing was updated
//   }
//
// A step is a function of its number and of the parameters and optimizer state before it: the rows come from the
// stream by index, the learning rate from the schedule, dropout masks from a key folded with the step. So a run resumed
// between two steps is the undisturbed run, bit for bit.
// The loss of a step is the mean over all answer tokens of its micro-batches. A loss or gradient norm that is not
// finite stops the step before anything is updated. The device sees to that (optim/update_gate.h), so the host need not
// wait for a GPU between two steps: it submits one and then finishes the one before, while the device works.
//
//   for (int64_t step = first; step < max_steps; ++step) {
//     if (absl::Status s = trainer.Submit(step); !s.ok()) ...
//     while (trainer.in_flight() > (step + 1 < max_steps ? trainer.ahead() : 0)) r = trainer.Finish();
//   }
//
// Finish every step before anything else reads parameters or moments: evaluation, a checkpoint.
// With `cuda_graphs`, on a GPU, a micro-batch is padded to a shape that repeats, and its passes run as one captured
// graph (step_graphs.h); dropout then reads its key from the device's memory.
// With `ranks`, several processes take a step together: rank r of n does the micro-batches r, r + n, r + 2n, ..., and
// the gradients of all are added up before the update, which is the same everywhere. Losses and counts are of the whole
// step.
#ifndef LORIKEET_APPS_TRAINING_TRAINER_H_
#define LORIKEET_APPS_TRAINING_TRAINER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "apps/parallel/gradient_sum.h"
#include "apps/parallel/nccl_sum.h"
#include "apps/parallel/ranks.h"
#include "apps/text/batches.h"
#include "apps/training/step_graphs.h"
#include "autograd/parameter.h"
#include "nn/causal_lm.h"
#include "nn/linear_cross_entropy.h"
#include "optim/adamw.h"
#include "optim/clip.h"
#include "optim/schedule.h"
#include "optim/update_gate.h"
#include "peft/adapter_run.h"
#include "tensor/host_copy.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct TrainerOptions {
  int64_t batch_size = 4;  // sequences of a micro-batch
  int64_t gradient_accumulation_steps = 1;
  double max_grad_norm = 1;  // <= 0: no clipping
  RngKey key;                // dropout
  bool cuda_graphs = false;
  Ranks* ranks = nullptr;   // who shares the micro-batches: their number is a multiple of the ranks'; null: no one
  NcclSum* nccl = nullptr;  // how their gradients are added up; null: through the host
};

struct StepResult {
  int64_t step = 0;
  double loss = 0;
  double learning_rate = 0;
  double grad_norm = 0;       // before clipping
  int64_t tokens = 0;         // that went through the model
  int64_t answer_tokens = 0;  // that had a loss
  int64_t causal_pairs = 0;   // query-key pairs of all sequences, for counting FLOPs
  double seconds = 0;         // from its submission or, if that came first, from the end of the step before
};

class Trainer {
 public:
  // Everything must outlive the trainer. `run` may be null when nothing drops out.
  Trainer(CausalLm& model, std::vector<Parameter*> parameters, AdamW& optimizer, const Schedule& schedule,
          AdapterRun* run, const text::SequenceStream& stream, const TrainerOptions& options);

  // Submit, then Finish.
  absl::StatusOr<StepResult> Step(int64_t step);
  // Launches a step, update included; on a GPU without waiting. InvalidArgument: no row of it has an answer; others:
  // the optimizer's store failed, or a rank is lost (DeadlineExceeded). No step then.
  absl::Status Submit(int64_t step);
  // Waits for the oldest step in flight. FailedPrecondition: its loss or gradient is not finite; neither it nor a step
  // submitted after it has updated anything, and none is in flight any more.
  absl::StatusOr<StepResult> Finish();
  int64_t in_flight() const { return static_cast<int64_t>(in_flight_.size()); }
  // How many steps to leave in flight: 1 on a GPU, 0 on the CPU.
  int64_t ahead() const;

  // Step's first half: the gradient of the step's mean loss, added to the parameters' gradients, and the loss. Of
  // several ranks, all ranks' micro-batches'; no gradients must be there before.
  absl::Status AccumulateGradients(int64_t step, StepResult* result);

  // Passes that ran as a graph.
  int64_t graph_launches() const { return graphs_ == nullptr ? 0 : graphs_->launches(); }

 private:
  // What a step eats, and what is known of it beforehand.
  struct Inputs {
    StepResult counts;
    std::vector<MicroBatch> micro_batches;  // this rank's
  };
  // A step whose update the device may not have done yet.
  struct InFlight {
    StepResult result;
    GradNorm norm;
    HostCopy values;  // this rank's losses, then the norm's sums
    std::chrono::steady_clock::time_point submitted;
    double submission_seconds;
  };
  int rank() const { return options_.ranks == nullptr ? 0 : options_.ranks->rank(); }
  int ranks() const { return options_.ranks == nullptr ? 1 : options_.ranks->size(); }
  RngKey DropoutKey(int64_t step, size_t own) const;  // of the micro-batch that is this rank's own-th
  Inputs InputsOf(int64_t step) const;
  Inputs TakeInputs(int64_t step);  // made already, or now
  RowLosses ForwardAndBackward(const MicroBatch& batch);
  struct Losses {
    std::vector<Tensor> own;  // of this rank's rows, a tensor for each micro-batch
    std::vector<Tensor> all;  // the same, or what says of all ranks' whether they are finite
  };
  absl::StatusOr<Losses> SubmitPasses(int64_t step, StepResult* result);
  absl::Status SumOverRanks(Losses* losses);
  absl::Status Lost(absl::Status status);
  absl::Status MeanLoss(absl::Span<const Tensor> own, StepResult* result);
  absl::Status Read(InFlight& step);
  double SecondsOf(const InFlight& step) const;
  void RollBack();
  void DropGradients();

  CausalLm& model_;
  std::vector<Parameter*> parameters_;
  AdamW& optimizer_;
  const Schedule& schedule_;
  AdapterRun* run_;
  const text::SequenceStream& stream_;
  TrainerOptions options_;
  std::unique_ptr<GradientSum> gradient_sum_;  // null: one rank
  std::unique_ptr<StepGraphs> graphs_;         // null: without
  std::optional<Inputs> next_;                 // on a GPU: the coming step's
  UpdateGate gate_;
  std::deque<InFlight> in_flight_;  // oldest first
  std::optional<HostCopy> before_;  // of the step finished last
  std::chrono::steady_clock::time_point finished_;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_TRAINER_H_
