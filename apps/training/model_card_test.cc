#include "apps/training/model_card.h"

#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

ModelCardInputs Example() {
  return {.name = "gsm8k-qlora",
          .base_model = "models/SmolLM2-135M-Instruct",
          .output_dir = "out/gsm8k-qlora",
          .method = "qlora",
          .generate_command = "bazel run //apps:generate -- --model=m --prompt=\"...\"",
          .quant_type = "nf4",
          .double_quant = true,
          .data = "gsm8k_train_2000.jsonl",
          .train_rows = 1900,
          .eval_rows = 100,
          .trainable_parameters = 4884480,
          .total_parameters = 139399488,
          .hyper_parameters = {{"lora_r", "16"}, {"learning_rate", "2e-4"}},
          .steps = 200,
          .eval_loss_before = 2.0,
          .eval_loss_after = 1.5};
}

TEST(ModelCardTest, BeginsWithTheFrontMatterThatTheHubReads) {
  EXPECT_TRUE(absl::StartsWith(ModelCard(Example()),
                               "---\n"
                               "base_model: \"models/SmolLM2-135M-Instruct\"\n"
                               "library_name: peft\n"
                               "pipeline_tag: text-generation\n"
                               "tags:\n- lorikeet\n- \"qlora\"\n"
                               "- \"base_model:adapter:models/SmolLM2-135M-Instruct\"\n"
                               "---\n\n# gsm8k-qlora\n"));
}

TEST(ModelCardTest, SaysHowWellItDoesAndHowToLoadIt) {
  const std::string card = ModelCard(Example());
  for (const char* part : {"| loss | 2.0000 | 1.5000 | -25.0% |", "| perplexity | 7.39 | 4.48 | |", "| lora_r | 16 |",
                           "4,884,480 of 139,399,488 (3.50%)", "gsm8k_train_2000.jsonl (1,900 rows)",
                           "```\nbazel run //apps:generate -- --model=m --prompt=\"...\"\n```",
                           "bnb_4bit_quant_type=\"nf4\", bnb_4bit_use_double_quant=True)",
                           "from_pretrained(\"models/SmolLM2-135M-Instruct\", quantization_config=quantization)",
                           "PeftModel.from_pretrained(model, \"out/gsm8k-qlora\")"}) {
    EXPECT_TRUE(absl::StrContains(card, part)) << part << "\n" << card;
  }
}

TEST(ModelCardTest, AGgufBaseIsADirectoryAndAFileToTransformers) {
  ModelCardInputs inputs = Example();
  inputs.base_model = "/models/a.gguf";
  EXPECT_TRUE(absl::StrContains(ModelCard(inputs), "from_pretrained(\"/models\", gguf_file=\"a.gguf\")"));
  EXPECT_FALSE(absl::StrContains(ModelCard(inputs), "BitsAndBytes"));
  inputs.base_model = "a.gguf";
  EXPECT_TRUE(absl::StrContains(ModelCard(inputs), "from_pretrained(\".\", gguf_file=\"a.gguf\")"));
}

TEST(ModelCardTest, AWholeModelNeedsNoAdapterAndNoEvaluationNoTable) {
  ModelCardInputs inputs = Example();
  inputs.method = "full";
  inputs.quant_type = "";
  inputs.eval_loss_after = std::nan("");
  const std::string card = ModelCard(inputs);
  EXPECT_FALSE(absl::StrContains(card, "peft") || absl::StrContains(card, "--adapter") ||
               absl::StrContains(card, "## Results") || absl::StrContains(card, "nan"))
      << card;
}

TEST(ModelCardTest, WhatAUserNamesStaysText) {
  ModelCardInputs inputs = Example();
  inputs.base_model = "it's \"my\"\nmodel: |";
  inputs.data = "a|b.jsonl";
  const std::string card = ModelCard(inputs);
  EXPECT_TRUE(absl::StrContains(card, "base_model: \"it's \\\"my\\\"\\x0amodel: |\"\n")) << card;
  EXPECT_TRUE(absl::StrContains(card, "| data | a\\|b.jsonl (")) << card;
}

}  // namespace
}  // namespace lorikeet
