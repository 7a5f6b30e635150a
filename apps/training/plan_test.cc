#include "apps/training/plan.h"

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

PlanInputs SmolLm() {
  return {.model = "SmolLM2-135M-Instruct",
          .num_layers = 30,
          .total_parameters = 139399488,
          .trainable_parameters = 4884480,
          .method = "qlora",
          .weights = "nf4",
          .dtype = "bf16",
          .device = "cpu, 2 threads",
          .weight_bytes = 84100000,
          .gradient_bytes = 19537920,
          .optimizer_bytes = 39075840,
          .activation_bytes = 412000000,
          .batch_size = 4,
          .gradient_accumulation_steps = 4,
          .max_seq_length = 256,
          .steps = 200,
          .train_rows = 1900,
          .eval_rows = 100};
}

TEST(PlanTest, IsTheHeadersExample) {
  EXPECT_EQ(FormatPlan(SmolLm()),
            "model       SmolLM2-135M-Instruct · 139M parameters, 30 layers\n"
            "method      qlora · nf4 weights, bf16 computation, cpu, 2 threads\n"
            "trainable   4,884,480 of 139,399,488 (3.50%)\n"
            "memory      weights 84.1 MB + gradients 19.5 MB + optimizer 39.1 MB + activations 412 MB = 555 MB\n"
            "data        1,900 rows to train on, 100 held out\n"
            "steps       200 × at most 4,096 tokens (4 sequences × 4 micro-batches × 256)\n");
}

TEST(PlanTest, APagedOptimizerCountsWithItsBudget) {
  PlanInputs plan = SmolLm();
  plan.optimizer_bytes = 1080000000;
  plan.optimizer_memory_limit = 64000000;
  const std::string text = FormatPlan(plan);
  EXPECT_TRUE(absl::StrContains(text, "optimizer 64.0 MB")) << text;
  EXPECT_TRUE(absl::StrContains(text, "1.08 GB of optimizer state, paged")) << text;
}

TEST(PlanTest, AResumedRunSaysSoAndAsciiIsPossible) {
  PlanInputs plan = SmolLm();
  plan.first_step = 120;
  const std::string text = FormatPlan(plan, /*utf8=*/false);
  EXPECT_TRUE(absl::StrContains(text, "resumed after step 120")) << text;
  for (char c : text) ASSERT_GE(c, 0) << text;
}

}  // namespace
}  // namespace lorikeet
