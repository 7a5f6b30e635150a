// QLoRA on a real model, on a GPU and on the CPU: the losses of 20 steps are the same to a thousandth.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "apps/model/open_model.h"
#include "apps/text/batches.h"
#include "apps/text/dataset.h"
#include "apps/training/trainer.h"
#include "gtest/gtest.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "peft/inject.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/random.h"
#include "tests/testing/model_cache.h"

namespace lorikeet {
namespace {

constexpr int64_t kSteps = 20, kBatch = 2, kLength = 64;

std::string ModelPath() { return CachedModel("smollm2-135m.gguf"); }

// Sums in words, of which all but the question has a loss.
std::vector<text::Example> Sums(const text::Tokenizer& tokenizer) {
  std::vector<text::Example> examples;
  for (int i = 0; i < kSteps * kBatch; ++i) {
    const int a = 3 + 7 * i % 50, b = 2 + 11 * i % 40;
    text::Example e;
    e.tokens = tokenizer.Encode(absl::StrCat("Ann has ", a, " boxes and gets ", b, " more. How many has she now?"));
    e.loss_mask.assign(e.tokens.size(), 0);
    for (const int32_t id : tokenizer.Encode(absl::StrCat(" She has ", a, " + ", b, " = ", a + b, " boxes."))) {
      e.tokens.push_back(id);
      e.loss_mask.push_back(1);
    }
    examples.push_back(e);
  }
  return examples;
}

std::vector<double> Losses(Device device) {
  const absl::StatusOr<OpenedModel> m =
      OpenModel(ModelPath(), {.compute_dtype = DType::kF32, .use = WeightUse::kQuantized, .device = device});
  EXPECT_TRUE(m.ok()) << m.status();
  AdapterRun run;
  AdapterConfig config;
  config.r = 16;
  EXPECT_TRUE(Inject(*m->lm, config, RngKey{.seed = 1}, &run).ok());
  const std::vector<Parameter*> parameters = TrainableParameters(*m->lm);
  const std::vector<text::Example> examples = Sums(*m->tokenizer);
  const text::SequenceStream stream(&examples, {.max_seq_length = kLength, .shuffle = false});
  AdamW optimizer(parameters, {}, std::make_unique<ResidentStore>(StateElements(parameters), DType::kF32, device));
  const Schedule schedule(ScheduleType::kConstant, 2e-4, 0, kSteps);
  Trainer trainer(*m->lm, parameters, optimizer, schedule, &run, stream, {.batch_size = kBatch, .key = {.seed = 2}});
  std::vector<double> losses;
  for (int64_t step = 0; step < kSteps; ++step) {
    const absl::StatusOr<StepResult> r = trainer.Step(step);
    EXPECT_TRUE(r.ok()) << r.status();
    losses.push_back(r.ok() ? r->loss : std::nan(""));
  }
  return losses;
}

TEST(SmolLm2CudaTest, TwentyLossesOfQloraAreTheCpus) {
  if (ModelPath().empty()) GTEST_SKIP() << kFetchHint;
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  if (CudaIsSimulated()) GTEST_SKIP() << "the simulator needs an hour for it";
  const std::vector<double> there = Losses(Cuda(0)), here = Losses(kCpu);
  double worst = 0;
  for (size_t i = 0; i < here.size(); ++i) {
    EXPECT_TRUE(std::abs(there[i] - here[i]) <= 1e-3)
        << "step " << i + 1 << ": " << there[i] << " on the device, " << here[i] << " on the CPU";
    worst = std::max(worst, std::abs(there[i] - here[i]));
  }
  EXPECT_LT(here.back(), 0.5 * here.front());
  std::printf("loss %.4f -> %.4f; largest difference of a step %.2e\n", here.front(), here.back(), worst);
}

}  // namespace
}  // namespace lorikeet
