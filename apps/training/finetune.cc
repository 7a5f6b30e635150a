#include "apps/training/finetune.h"

#include <cstdio>

#include "apps/training/evaluate.h"
#include "apps/training/job.h"

namespace lorikeet {

absl::Status FineTune(const TrainOptions& options) {
  absl::StatusOr<std::unique_ptr<TrainJob>> made = TrainJob::Create(options);
  if (!made.ok()) return made.status();
  TrainJob& job = **made;
  std::printf("train %zu eval %zu steps %lld params %zu\n", job.train.examples.size(), job.eval.examples.size(),
              static_cast<long long>(job.max_steps), job.parameters.size());
  EvalResult before = EvaluateLoss(*job.model.lm, job.eval.examples, 2048);
  std::printf("eval loss before %.4f acc %.3f\n", before.loss(), before.accuracy());
  for (int64_t step = 0; step < job.max_steps; ++step) {
    absl::StatusOr<StepResult> r = job.trainer->Step(step);
    if (!r.ok()) return r.status();
    std::printf("step %lld loss %.4f lr %.2e grad %.3f tok %lld (%lld) %.2fs %.0f tok/s\n",
                static_cast<long long>(step + 1), r->loss, r->learning_rate, r->grad_norm,
                static_cast<long long>(r->tokens), static_cast<long long>(r->answer_tokens), r->seconds,
                static_cast<double>(r->tokens) / r->seconds);
    std::fflush(stdout);
  }
  EvalResult after = EvaluateLoss(*job.model.lm, job.eval.examples, 2048);
  std::printf("eval loss after %.4f acc %.3f\n", after.loss(), after.accuracy());
  return absl::OkStatus();
}

}  // namespace lorikeet
