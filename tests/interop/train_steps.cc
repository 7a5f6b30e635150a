// Training steps on given batches from a given adapter, for scripts that take the same steps with PEFT.
//
//   train_steps --model=DIR --adapter=DIR --batches=batches.safetensors > losses.csv
//
// `tokens` and `labels` i32 [steps, sequences, length]; a label below 0 has no loss, as in transformers labels[t] is
// token t's. One AdamW step each: no weight decay, the gradient clipped to norm 1, a cosine schedule with warm-up.
// Prints step, loss, grad_norm; the adapter itself stays as it is on disk.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/model/adapted_model.h"
#include "apps/model/model_flags.h"
#include "apps/program.h"
#include "autograd/tape.h"
#include "nn/linear_cross_entropy.h"
#include "optim/adamw.h"
#include "optim/clip.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/inject.h"
#include "tensor/io/safetensors.h"
#include "tensor/tensor.h"
#include "tests/testing/sequences.h"

ABSL_FLAG(std::string, batches, "", "safetensors file to read");
ABSL_FLAG(double, learning_rate, 1e-3, "peak learning rate");
ABSL_FLAG(int64_t, warmup_steps, 5, "steps in which the rate rises from 0");

namespace lorikeet {
namespace {

absl::Status Train(AdaptedModel& m, const Tensor& tokens, const Tensor& labels) {
  const int64_t steps = tokens.dim(0);
  const std::vector<Parameter*> parameters = TrainableParameters(*m.base.lm);
  AdamW optimizer(parameters, {}, std::make_unique<ResidentStore>(StateElements(parameters)));
  const Schedule schedule(ScheduleType::kCosine, absl::GetFlag(FLAGS_learning_rate), absl::GetFlag(FLAGS_warmup_steps),
                          steps);
  std::printf("step,loss,grad_norm\n");
  for (int64_t step = 0; step < steps; ++step) {
    const auto at = [&](const Tensor& t) { return t.Slice(0, step, step + 1).Squeeze(0); };
    const LabelledSequences rows = SequencesOf(at(tokens), at(labels));
    m.run->weights_version = static_cast<uint64_t>(step) + 1;
    Tape tape;
    const Variable h = m.base.lm->Hidden(rows.batch, nullptr);
    const Variable loss = LinearCrossEntropy(
        h, m.base.lm->head(), rows.targets,
        {.scale = 1.0f / static_cast<float>(rows.answers), .softcap = m.base.lm->config().final_softcap});
    tape.Backward(loss, Tensor::Scalar(1, loss.dtype()));
    const double norm = GradNorm(parameters).Get();
    if (absl::Status s = optimizer.Step(schedule.Rate(step), ClipFactor(norm, 1)); !s.ok()) return s;
    for (Parameter* p : parameters) p->ZeroGrad();
    std::printf("%lld,%.9g,%.9g\n", static_cast<long long>(step + 1), loss.value().item(), norm);
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

absl::Status Run() {
  const absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(absl::GetFlag(FLAGS_batches));
  if (!file.ok()) return file.status();
  const absl::StatusOr<Tensor> tokens = (*file)->Read("tokens"), labels = (*file)->Read("labels");
  if (!tokens.ok()) return tokens.status();
  if (!labels.ok()) return labels.status();
  if (tokens->rank() != 3 || !(tokens->shape() == labels->shape())) {
    return absl::InvalidArgumentError("--batches: expected tokens and labels [steps, sequences, length]");
  }
  absl::StatusOr<AdaptedModel> m = OpenModelFromFlags("f32");
  if (!m.ok()) return m.status();
  return Train(*m, *tokens, *labels);
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv,
                         "Takes training steps on given batches.\n"
                         "  train_steps --model=DIR --adapter=DIR --batches=FILE");
  return lorikeet::ExitCode(lorikeet::Run());
}
