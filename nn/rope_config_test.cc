// Rotary positions in config.json (rope_config.h), read and written through ModelConfig.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "nn/model_config.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using Kind = RopeScaling::Kind;

// A model with heads of 8 dimensions.
absl::StatusOr<ModelConfig> Parse(absl::string_view model_type, absl::string_view fields) {
  return ParseModelConfig(absl::StrCat(R"({"model_type": ")", model_type,
                                       R"(", "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48,
                   "num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": 64, )",
                                       fields, "}"),
                          "config.json");
}

absl::StatusOr<ModelConfig> Scaled(absl::string_view model_type, absl::string_view scaling) {
  return Parse(model_type, absl::StrCat(R"("rope_scaling": {)", scaling, "}"));
}

void ExpectError(const absl::StatusOr<ModelConfig>& got, absl::string_view message) {
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_TRUE(absl::StrContains(got.status().message(), message)) << got.status();
  EXPECT_TRUE(absl::StrContains(got.status().message(), "config.json")) << got.status();
}

// make_rope.py: every scheme, in the spelling of transformers 5 and, written by ours and read again, in the one before.
TEST(RopeConfigTest, FrequenciesAndAttentionFactorsAreTransformers) {
  const auto file = SafetensorsFile::Open("tests/golden/rope.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const Tensor text = *(*file)->Read("configs");
  const std::string json(reinterpret_cast<const char*>(text.raw()), static_cast<size_t>(text.nbytes()));
  const nlohmann::json configs = nlohmann::json::parse(json);
  EXPECT_EQ(configs.size(), 8u);
  for (const auto& [name, object] : configs.items()) {
    SCOPED_TRACE(name);
    const absl::StatusOr<ModelConfig> first = ParseModelConfig(object.dump(), "config.json");
    ASSERT_TRUE(first.ok()) << first.status();
    const absl::StatusOr<ModelConfig> again = ParseModelConfig(ModelConfigToJson(*first, "float32"), "config.json");
    ASSERT_TRUE(again.ok()) << again.status();
    const Tensor want = *(*file)->Read(name);
    const double factor = (*file)->Read(name + ".attention_factor")->item();
    for (const ModelConfig& c : {*first, *again}) {
      const Tensor got = tensor::RopeFrequencies(c.rope_theta, c.rotary_dim(), c.rope_scaling);
      ASSERT_EQ(got.shape(), want.shape());
      for (int64_t i = 0; i < want.size(); ++i) {
        const float g = got.data<float>()[static_cast<size_t>(i)], w = want.data<float>()[static_cast<size_t>(i)];
        EXPECT_NEAR(g, w, 1e-6 * w) << i;  // theirs are powers and products in f32
      }
      EXPECT_NEAR(tensor::RopeAttentionFactor(c.rope_scaling), factor, 1e-12);
    }
  }
}

TEST(RopeConfigTest, Phi3HasItsOriginalContextBesideTheScaling) {
  constexpr absl::string_view kFactors = R"("short_factor": [1, 1, 1, 1], "long_factor": [1, 2, 3, 4])";
  const auto original = [&](absl::string_view model_type, absl::string_view inside, absl::string_view beside) {
    const absl::StatusOr<ModelConfig> c =
        Parse(model_type, absl::StrCat(R"("rope_scaling": {"type": "longrope", )", inside, kFactors, "}", beside));
    EXPECT_TRUE(c.ok()) << c.status();
    return c->rope_scaling.original_max_position;
  };
  EXPECT_EQ(original("phi3", "", ""), 4096);
  EXPECT_EQ(original("phi3", R"("original_max_position_embeddings": 16, )", ""), 4096);
  EXPECT_EQ(original("phi3", "", R"(, "original_max_position_embeddings": 16)"), 16);
  EXPECT_EQ(original("llama", "", ""), 64);
  EXPECT_EQ(original("llama", R"("original_max_position_embeddings": 16, )", ""), 16);
  for (const char* older : {"su", "yarn"}) {
    const absl::StatusOr<ModelConfig> c = Scaled("phi3", absl::StrCat(R"("type": ")", older, R"(", )", kFactors));
    ASSERT_TRUE(c.ok()) << c.status();
    EXPECT_EQ(c->rope_scaling.kind, Kind::kLongRope);
    EXPECT_EQ(c->rope_scaling.long_factor, (std::vector<double>{1, 2, 3, 4}));
    EXPECT_EQ(c->rope_scaling.factor, 64.0 / 4096);
  }
}

TEST(RopeConfigTest, PhisPartOfAHeadMayStandInTheScaling) {
  constexpr absl::string_view kScaling =
      R"("type": "longrope", "short_factor": [1, 1], "long_factor": [2, 2], "partial_rotary_factor": 0.5)";
  const absl::StatusOr<ModelConfig> c = Scaled("phi3", kScaling);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->rotary_dim(), 4);
  EXPECT_FALSE(Scaled("llama", R"("type": "yarn", "factor": 2, "truncate": null)")->rope_scaling.truncate);
  EXPECT_TRUE(Scaled("llama", R"("type": "yarn", "factor": 2)")->rope_scaling.truncate);
}

TEST(RopeConfigTest, WhatIsNotSupportedIsNamed) {
  ExpectError(Scaled("llama", R"("rope_type": "dynamic", "factor": 2)"),
              "rope_type \"dynamic\" is not supported; known are default, linear, llama3, longrope and yarn");
  ExpectError(Scaled("llama", R"("type": "su")"), "rope_type \"su\" is not supported");
  ExpectError(Scaled("phi3", R"("type": "linear", "factor": 2)"), "only longrope is supported for phi3");
}

TEST(RopeConfigTest, HostileNumbersAreRefused) {
  const auto longrope = [](absl::string_view low, absl::string_view high) {
    return Scaled("phi3", absl::StrCat(R"("type": "longrope", "short_factor": )", low, R"(, "long_factor": )", high));
  };
  EXPECT_TRUE(longrope("[1, 1, 1, 1]", "[2, 2, 2, 2]").ok());
  ExpectError(longrope("null", "[2, 2, 2, 2]"),
              "short_factor has 0 numbers, expected 4, half of the rotated dimensions");
  ExpectError(longrope("[1, 1, 1, 1]", "[2, 2, 2, 2, 2]"), "long_factor has 5 numbers, expected 4");
  ExpectError(longrope("[1, 1, 1, 1]", "[2, 0, 2, 2]"), "long_factor has 0, expected above 0, to 1e6");
  ExpectError(longrope("[1, -1, 1, 1]", "[2, 2, 2, 2]"), "short_factor has -1, expected above 0, to 1e6");
  ExpectError(longrope("[1, 1, 1, 1]", "[2, \"2\", 2, 2]"), "\"long_factor\" must be a list of numbers, got an array");
  ExpectError(longrope("7", "[2, 2, 2, 2]"), "\"short_factor\" must be a list of numbers, got 7");
  const auto yarn = [](absl::string_view more) { return Scaled("llama", absl::StrCat(R"("type": "yarn", )", more)); };
  EXPECT_TRUE(yarn(R"("factor": 2)").ok());
  ExpectError(yarn(R"("factor": 0.5)"), "rope_scaling: factor is 0.5, expected 1 to 1e6");
  ExpectError(yarn(R"("factor": 2, "beta_fast": 1)"),
              "beta_fast 1 and beta_slow 1, expected 0 < beta_slow < beta_fast");
  ExpectError(yarn(R"("factor": 2, "beta_slow": -1)"), "beta_fast 32 and beta_slow -1, expected");
  ExpectError(yarn(R"("factor": 2, "attention_factor": -1)"), "attention_factor is -1, expected above 0, to 1000");
  ExpectError(yarn(R"("original_max_position_embeddings": 0)"), "original_max_position_embeddings is 0, expected 1");
  ExpectError(Parse("phi3", R"("original_max_position_embeddings": 1, "rope_scaling": {"type": "longrope",
                               "short_factor": [1, 1, 1, 1], "long_factor": [2, 2, 2, 2]})"),
              "original_max_position_embeddings is 1, expected 2");
  ExpectError(yarn(R"("factor": 2, "original_max_position_embeddings": 0)"), "original_max_position_embeddings is 0");
}

}  // namespace
}  // namespace lorikeet
