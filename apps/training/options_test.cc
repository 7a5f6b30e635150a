#include "apps/training/options.h"

#include <string>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

TEST(OptionsTest, TheCommandLoadsWhatTheRunWroteAsTheRunDid) {
  TrainOptions o;
  o.output_dir = "out/a";
  EXPECT_EQ(GenerateCommand(o, "m.gguf"),
            "bazel run //apps:generate -- --model=m.gguf --adapter=out/a --prompt=\"...\"");
  o.method = Method::kQdora;
  EXPECT_EQ(GenerateCommand(o, "m.gguf"),
            "bazel run //apps:generate -- --model=m.gguf --adapter=out/a --load_in_4bit --prompt=\"...\"");
  o.quant = {.kind = Nf4Kind::kFp4, .block = 128, .double_quant = false};
  o.chat_template = "gemma3";
  EXPECT_EQ(GenerateCommand(o, "m.gguf"),
            "bazel run //apps:generate -- --model=m.gguf --adapter=out/a --load_in_4bit --bnb_4bit_quant_type=fp4 "
            "--quant_block_size=128 --bnb_4bit_use_double_quant=false --chat_template=gemma3 --prompt=\"...\"");
  o.method = Method::kFull;
  EXPECT_EQ(GenerateCommand(o, "m.gguf"),
            "bazel run //apps:generate -- --model=out/a --chat_template=gemma3 --prompt=\"...\"");
}

TEST(OptionsTest, TheCommandsPathsAreWordsOfAShell) {
  TrainOptions o;
  o.output_dir = "my runs/a";
  EXPECT_EQ(GenerateCommand(o, "it's"),
            "bazel run //apps:generate -- '--model=it'\\''s' '--adapter=my runs/a' --prompt=\"...\"");
}

}  // namespace
}  // namespace lorikeet
