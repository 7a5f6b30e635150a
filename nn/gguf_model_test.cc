// What a GGUF file's values mean for a configuration, and which are refused. Whole models: golden_model_test.cc.
#include "nn/gguf_model.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nn/model_config.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_blocks.h"
#include "tensor/io/gguf_writer.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using Add = std::function<void(GgufValues&)>;

// A file of small sizes, what `add` adds, and no weights but an embedding and those in `more`.
std::unique_ptr<GgufFile> Made(const std::string& architecture, uint32_t layers, const Add& add,
                               const std::vector<std::string>& more = {}) {
  GgufValues values;
  values.String("general.architecture", architecture);
  const auto key = [&](const char* name) { return absl::StrCat(architecture, ".", name); };
  values.U32(key("context_length"), 64);
  values.U32(key("embedding_length"), 32);
  values.U32(key("block_count"), layers);
  values.U32(key("feed_forward_length"), 48);
  values.U32(key("attention.head_count"), 4);
  values.U32(key("attention.key_length"), 16);
  values.F32(key("attention.layer_norm_rms_epsilon"), 1e-6f);
  add(values);
  std::vector<GgufSpec> specs = {{"token_embd.weight", FindGgufFormat("F32"), {10, 32}}};
  for (const std::string& name : more) specs.push_back({name, FindGgufFormat("F32"), {10, 32}});
  const std::string path = testing::TempDir() + "/values.gguf";
  auto writer = GgufWriter::Create(path, values, specs);
  EXPECT_TRUE(writer.ok()) << writer.status();
  for (const GgufSpec& spec : specs) {
    EXPECT_TRUE((*writer)->Write(spec.name, Tensor::Full({10, 32}, 1, DType::kF32)).ok());
  }
  EXPECT_TRUE((*writer)->Finish().ok());
  auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return *std::move(file);
}

TEST(GgufModelTest, Gemma3WithoutFurtherValuesHasThoseOfLlamaCpp) {
  const auto file = Made("gemma3", 7, [](GgufValues& v) { v.U32("gemma3.attention.sliding_window", 8); });
  const absl::StatusOr<ModelConfig> c = ModelConfigFromGguf(*file);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->model_type, "gemma3_text");
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(c->WindowOf(i), i == 5 ? 0 : 8) << i;
  EXPECT_EQ(c->rope_local_theta, 10000);
  EXPECT_EQ(c->query_pre_attn_scalar, 16);
  EXPECT_TRUE(c->qk_norm && c->tie_word_embeddings);
}

TEST(GgufModelTest, ValuesOfNewerFilesReplaceThem) {
  const auto file = Made("gemma3", 7, [](GgufValues& v) {
    v.U32("gemma3.attention.sliding_window", 8);
    v.U32("gemma3.attention.sliding_window_pattern", 2);
    v.F32("gemma3.rope.freq_base_swa", 500);
  });
  const absl::StatusOr<ModelConfig> c = ModelConfigFromGguf(*file);
  ASSERT_TRUE(c.ok()) << c.status();
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(c->WindowOf(i), i % 2 == 1 ? 0 : 8) << i;
  EXPECT_EQ(c->rope_local_theta, 500);
}

TEST(GgufModelTest, TheLargestGemmasDivideScoresByOtherNumbers) {
  const Add nothing = [](GgufValues&) {};
  for (const auto& [architecture, layers] : {std::pair<const char*, uint32_t>{"gemma2", 46}, {"gemma3", 62}}) {
    EXPECT_EQ(ModelConfigFromGguf(*Made(architecture, layers, nothing))->query_pre_attn_scalar, 8) << architecture;
    EXPECT_EQ(ModelConfigFromGguf(*Made(architecture, layers - 1, nothing))->query_pre_attn_scalar, 16);
  }
  EXPECT_EQ(ModelConfigFromGguf(*Made("gemma2", 2, nothing))->WindowOf(0), 4096);
  EXPECT_EQ(ModelConfigFromGguf(*Made("gemma3", 2, nothing))->WindowOf(0), 0);
}

TEST(GgufModelTest, ALlamaWithAWindowIsMistral) {
  const auto plain = Made("llama", 2, [](GgufValues&) {});
  EXPECT_EQ(ModelConfigFromGguf(*plain)->model_type, "llama");
  const auto file = Made("llama", 2, [](GgufValues& v) { v.U32("llama.attention.sliding_window", 8); });
  const absl::StatusOr<ModelConfig> c = ModelConfigFromGguf(*file);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->model_type, "mistral");
  EXPECT_EQ(c->WindowOf(0), 8);
  EXPECT_EQ(c->WindowOf(1), 8);
}

TEST(GgufModelTest, WhatCannotBeReadIsAnErrorThatSaysWhat) {
  struct Case {
    const char* architecture;
    Add add;
    std::vector<std::string> tensors;
    const char* message;
  };
  const Add nothing = [](GgufValues&) {};
  const std::vector<Case> cases = {
      {"mamba",
       nothing,
       {},
       "\"mamba\" is not supported as GGUF; known are gemma2, gemma3, llama, phi3, qwen2 and qwen3"},
      {"gemma3",
       [](GgufValues& v) {
         v.U32("gemma3.attention.sliding_window", 8);
         v.U32("gemma3.attention.sliding_window_pattern", 0);
       },
       {},
       "gemma3.attention.sliding_window_pattern is 0"},
      {"gemma3", [](GgufValues& v) { v.F32("gemma3.attn_logit_softcapping", 5); }, {}, "attn_logit_softcapping"},
      {"gemma3", [](GgufValues& v) { v.String("gemma3.rope.freq_base_swa", "x"); }, {}, "gemma3.rope.freq_base_swa"},
      {"llama", [](GgufValues& v) { v.U32("llama.rope.dimension_count", 8); }, {}, "llama.rope.dimension_count is 8"},
      {"llama", nothing, {"rope_freqs.weight"}, "rope_freqs.weight is not Llama 3's scaling"},
      {"llama",
       [](GgufValues& v) {
         v.String("llama.rope.scaling.type", "linear");
         v.F32("llama.rope.scaling.factor", 2);
       },
       {"rope_freqs.weight"},
       "scaled in two ways at once"},
      {"llama", [](GgufValues& v) { v.String("llama.rope.scaling.type", "dynamic"); }, {}, "none, linear and yarn"},
      {"llama",
       [](GgufValues& v) {
         v.String("llama.rope.scaling.type", "yarn");
         v.F32("llama.rope.scaling.factor", 2);
         v.F32("llama.rope.scaling.attn_factor", 2);
       },
       {},
       "llama.rope.scaling.attn_factor is 2"},
      {"phi3", nothing, {"rope_factors_long.weight"}, "rope_factors_short.weight"},
      {"phi3", [](GgufValues& v) { v.String("phi3.rope.scaling.type", "longrope"); }, {}, "there is no rope_factors"},
      {"phi3", [](GgufValues& v) { v.U32("phi3.rope.dimension_count", 32); }, {}, "partial_rotary_factor is 2"},
  };
  for (const Case& c : cases) {
    const absl::StatusOr<ModelConfig> got = ModelConfigFromGguf(*Made(c.architecture, 2, c.add, c.tensors));
    EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_TRUE(absl::StrContains(got.status().message(), c.message)) << got.status();
    EXPECT_TRUE(absl::StrContains(got.status().message(), "values.gguf")) << got.status();
  }
}

}  // namespace
}  // namespace lorikeet
