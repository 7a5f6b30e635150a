#include "nn/model_config.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "tensor/ops/rope_scaling.h"

namespace lorikeet {
namespace {

// A valid file; tests replace one field of it.
constexpr char kLlama[] = R"({
  "model_type": "llama", "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-05,
  "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": [2, 3]})";

absl::StatusOr<ModelConfig> Parse(absl::string_view json) { return ParseModelConfig(json, "config.json"); }

// kLlama with `from` replaced, which must occur.
std::string With(absl::string_view from, absl::string_view to) {
  std::string json = kLlama;
  EXPECT_EQ(absl::StrReplaceAll({{from, to}}, &json), 1) << from;
  return json;
}
// kLlama with another field.
std::string And(absl::string_view field) { return With(R"("hidden_act": "silu")", absl::StrCat("\"x\": 0, ", field)); }

// The same of another family.
std::string Of(absl::string_view family, std::string json) {
  EXPECT_EQ(absl::StrReplaceAll({{"\"llama\"", absl::StrCat("\"", family, "\"")}}, &json), 1);
  return json;
}

void ExpectError(absl::string_view json, absl::string_view message) {
  const absl::StatusOr<ModelConfig> config = Parse(json);
  ASSERT_FALSE(config.ok()) << json;
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(config.status().message(), absl::StrCat("config.json: ", message));
}

TEST(ModelConfigTest, ReadsEveryField) {
  const absl::StatusOr<ModelConfig> c = Parse(kLlama);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->model_type, "llama");
  EXPECT_EQ(c->vocab_size, 97);
  EXPECT_EQ(c->hidden_size, 32);
  EXPECT_EQ(c->intermediate_size, 48);
  EXPECT_EQ(c->num_layers, 2);
  EXPECT_EQ(c->num_heads, 4);
  EXPECT_EQ(c->num_kv_heads, 2);
  EXPECT_EQ(c->head_dim, 8);
  EXPECT_EQ(c->max_position_embeddings, 512);
  EXPECT_FLOAT_EQ(c->rms_norm_eps, 1e-5f);
  EXPECT_TRUE(c->tie_word_embeddings);
  EXPECT_FALSE(c->qkv_bias || c->o_bias || c->mlp_bias);
  EXPECT_EQ(c->bos_token_ids, (std::vector<int32_t>{1}));
  EXPECT_EQ(c->eos_token_ids, (std::vector<int32_t>{2, 3}));
}

TEST(ModelConfigTest, AbsentAndNullFieldsHaveTheirDefaults) {
  EXPECT_EQ(Parse(With(R"("num_key_value_heads": 2)", R"("num_key_value_heads": null)"))->num_kv_heads, 4);
  const ModelConfig c = *Parse(And(R"("head_dim": 12)"));
  EXPECT_EQ(c.head_dim, 12);
  EXPECT_EQ(c.rope_theta, 10000);
  EXPECT_EQ(c.rope_scaling.kind, RopeScaling::Kind::kNone);
}

TEST(ModelConfigTest, APaddingTokenIsPassedOn) {
  EXPECT_EQ(Parse(kLlama)->pad_token_id, -1);
  EXPECT_EQ(Parse(And(R"("pad_token_id": -1)"))->pad_token_id, -1);
  EXPECT_EQ(Parse(And(R"("pad_token_id": 96)"))->pad_token_id, 96);
  EXPECT_NE(ModelConfigToJson(*Parse(kLlama), "").find(R"("pad_token_id": null)"), std::string::npos);
  EXPECT_NE(ModelConfigToJson(*Parse(And(R"("pad_token_id": 96)")), "").find(R"("pad_token_id": 96)"),
            std::string::npos);
}

TEST(ModelConfigTest, BiasesAreTheArchitecturesOwn) {
  const ModelConfig llama = *Parse(And(R"("attention_bias": true, "mlp_bias": true)"));
  EXPECT_TRUE(llama.qkv_bias && llama.o_bias && llama.mlp_bias);
  const ModelConfig qwen = *Parse(With(R"("llama")", R"("qwen2")"));
  EXPECT_TRUE(qwen.qkv_bias);
  EXPECT_FALSE(qwen.o_bias || qwen.mlp_bias);
}

TEST(ModelConfigTest, RopeIsReadInBothSpellings) {
  const ModelConfig now = *Parse(And(R"("rope_parameters": {"rope_type": "default", "rope_theta": 5e5})"));
  EXPECT_EQ(now.rope_theta, 5e5);
  const ModelConfig old = *Parse(And(R"("rope_theta": 1e6, "rope_scaling": {"type": "linear", "factor": 4})"));
  EXPECT_EQ(old.rope_theta, 1e6);
  EXPECT_EQ(old.rope_scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(old.rope_scaling.factor, 4);
  const ModelConfig llama3 = *Parse(And(R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
      "high_freq_factor": 4, "original_max_position_embeddings": 256})"));
  EXPECT_EQ(llama3.rope_scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_EQ(llama3.rope_scaling.original_max_position, 256);
}

TEST(ModelConfigTest, EachRequiredFieldIsMissed) {
  for (const char* name :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    ExpectError(With(absl::StrCat("\"", name, "\""), "\"other\""), absl::StrCat("\"", name, "\" is missing"));
  }
}

TEST(ModelConfigTest, WrongTypesAreNamed) {
  ExpectError(With(": 97", ": \"97\""), R"("vocab_size" must be a non-negative integer, got "97")");
  ExpectError(With(": 97", ": 97.5"), R"("vocab_size" must be a non-negative integer, got 97.5)");
  ExpectError(With(": 1e-05", ": true"), R"("rms_norm_eps" must be a number, got true)");
  ExpectError(With(": true", ": 1"), R"("tie_word_embeddings" must be true or false, got 1)");
  ExpectError(With("\"silu\"", "{}"), R"("hidden_act" must be a string, got an object)");
  ExpectError(With("[2, 3]", "[2, \"3\"]"), R"("eos_token_id" must be token ids, got an array)");
  ExpectError(With("[2, 3]", "-1"), R"("eos_token_id" must be token ids, got -1)");
  ExpectError(And(R"("rope_scaling": 2)"), R"("rope_scaling" must be an object, got 2)");
  ExpectError(And(R"("rope_scaling": {"rope_type": "linear", "factor": "4"})"),
              R"(rope_scaling: "factor" must be a number, got "4")");
}

TEST(ModelConfigTest, UnknownKindsListTheKnownOnes) {
  ExpectError(
      With("\"llama\"", "\"bert\""),
      "model_type \"bert\" is not supported; known are gemma2, gemma3_text, gpt2, llama, mistral, phi3, qwen2 and "
      "qwen3");
  ExpectError(With("\"silu\"", "\"gelu\""), "hidden_act \"gelu\" is not supported; known is silu");
  ExpectError(And(R"("rope_scaling": {"rope_type": "dynamic"})"),
              "rope_type \"dynamic\" is not supported; known are default, linear, llama3, longrope and yarn");
  ExpectError(And(R"("use_sliding_window": true)"), "use_sliding_window is true, which is not supported for llama");
}

TEST(ModelConfigTest, EveryFamilyRefusesDynamicScaling) {
  for (const char* family : {"gemma2", "gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3"}) {
    const std::string dynamic = And(R"("rope_scaling": {"rope_type": "dynamic", "factor": 4})");
    ExpectError(Of(family, dynamic),
                "rope_type \"dynamic\" is not supported; known are default, linear, llama3, longrope and yarn");
  }
}

TEST(ModelConfigTest, MistralHasAWindowUnlessItIsNull) {
  EXPECT_EQ(Parse(Of("mistral", kLlama))->sliding_window, 4096);
  EXPECT_EQ(Parse(Of("mistral", And(R"("sliding_window": null)")))->sliding_window, 0);
  EXPECT_EQ(Parse(Of("mistral", And(R"("sliding_window": 7)")))->sliding_window, 7);
  EXPECT_EQ(Parse(Of("llama", And(R"("sliding_window": 7)")))->sliding_window, 0);
  ExpectError(Of("mistral", And(R"("sliding_window": "7")")),
              R"("sliding_window" must be a non-negative integer, got "7")");
  ExpectError(Of("mistral", And(R"("sliding_window": 1000000000000)")),
              "sliding_window is 1000000000000, expected 0 (none) to 268435456");
}

TEST(ModelConfigTest, Qwen3NormalisesHeadsOfItsOwnSize) {
  const ModelConfig c = *Parse(Of("qwen3", kLlama));
  EXPECT_TRUE(c.qk_norm);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_FALSE(c.qkv_bias || c.o_bias);
  EXPECT_TRUE(Parse(Of("qwen3", And(R"("attention_bias": true)")))->qkv_bias);
  ExpectError(Of("qwen3", And(R"("use_sliding_window": true)")),
              "use_sliding_window is true, which is not supported for qwen3");
}

// Gemma spells its activation differently.
std::string Gemma(absl::string_view family, absl::string_view field) {
  std::string json = Of(family, And(field));
  EXPECT_EQ(absl::StrReplaceAll({{R"("tie_word_embeddings": true, )", ""}}, &json), 1);
  return json;
}

TEST(ModelConfigTest, Gemma2HasCapsAndAWindowInEveryOtherLayerUnlessToldOtherwise) {
  const absl::StatusOr<ModelConfig> c = Parse(Gemma("gemma2", R"("y": 0)"));
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->head_dim, 256);
  EXPECT_EQ(c->query_pre_attn_scalar, 256);
  EXPECT_EQ(c->attn_softcap, 50);
  EXPECT_EQ(c->final_softcap, 30);
  EXPECT_EQ(c->sliding_window, 4096);
  EXPECT_EQ(c->sliding_layers, (std::vector<bool>{true, false}));
  EXPECT_EQ(c->WindowOf(0), 4096);
  EXPECT_EQ(c->WindowOf(1), 0);
  EXPECT_TRUE(c->tie_word_embeddings);
  EXPECT_FALSE(c->qk_norm || c->qkv_bias);
  const ModelConfig told = *Parse(Gemma("gemma2", R"("attn_logit_softcapping": null, "final_logit_softcapping": 2.5,
      "sliding_window": 9, "layer_types": ["full_attention", "sliding_attention"], "query_pre_attn_scalar": 144)"));
  EXPECT_EQ(told.attn_softcap, 0);
  EXPECT_EQ(told.final_softcap, 2.5f);
  EXPECT_EQ(told.query_pre_attn_scalar, 144);
  EXPECT_EQ(told.WindowOf(0), 0);
  EXPECT_EQ(told.WindowOf(1), 9);
}

TEST(ModelConfigTest, Gemma3HasTwoFrequenciesInBothSpellings) {
  const ModelConfig usual = *Parse(Gemma("gemma3_text", R"("sliding_window_pattern": 2)"));
  EXPECT_EQ(usual.rope_theta, 1e6);
  EXPECT_EQ(usual.rope_local_theta, 1e4);
  EXPECT_TRUE(usual.qk_norm);
  EXPECT_EQ(usual.attn_softcap, 0);
  EXPECT_EQ(usual.sliding_layers, (std::vector<bool>{true, false}));
  EXPECT_EQ(Parse(Gemma("gemma3_text", R"("y": 0)"))->sliding_layers, (std::vector<bool>{true, true}));
  const ModelConfig old = *Parse(Gemma("gemma3_text", R"("rope_theta": 5e5, "rope_local_base_freq": 2e4,
      "rope_scaling": {"rope_type": "linear", "factor": 8})"));
  const ModelConfig now = *Parse(Gemma("gemma3_text", R"("rope_parameters": {
      "full_attention": {"rope_type": "linear", "factor": 8, "rope_theta": 5e5},
      "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}})"));
  for (const ModelConfig& c : {old, now}) {
    EXPECT_EQ(c.rope_theta, 5e5);
    EXPECT_EQ(c.rope_local_theta, 2e4);
    EXPECT_EQ(c.rope_scaling.kind, RopeScaling::Kind::kLinear);
    EXPECT_EQ(c.rope_scaling.factor, 8);
  }
}

TEST(ModelConfigTest, BadFieldsOfGemmaAreNamed) {
  const auto gemma2 = [](absl::string_view field, absl::string_view message) {
    ExpectError(Gemma("gemma2", field), message);
  };
  const auto gemma3 = [](absl::string_view field, absl::string_view message) {
    ExpectError(Gemma("gemma3_text", field), message);
  };
  gemma2(R"("hidden_activation": "relu")", "hidden_activation \"relu\" is not supported; known is gelu_pytorch_tanh");
  gemma2(R"("query_pre_attn_scalar": 0)", "query_pre_attn_scalar is 0, expected above 0");
  gemma2(R"("query_pre_attn_scalar": 1e9)", "query_pre_attn_scalar is 1e+09, expected above 0, to 1e6");
  gemma2(R"("attn_logit_softcapping": -1)", "attn_logit_softcapping is -1, expected above 0, to 1e6");
  gemma2(R"("final_logit_softcapping": 1e300)", "final_logit_softcapping is 1e+07, expected above 0, to 1e6");
  gemma2(R"("final_logit_softcapping": "30")", R"("final_logit_softcapping" must be a number, got "30")");
  gemma2(R"("layer_types": ["full_attention"])", "layer_types has 1 entries for 2 layers");
  gemma2(R"("layer_types": ["full_attention", "no_attention"])",
         "layer_types has \"no_attention\"; known are sliding_attention and full_attention");
  gemma2(R"("layer_types": "full_attention")", R"("layer_types" must be a list of strings, got "full_attention")");
  gemma2(R"("layer_types": [1, 2])", R"("layer_types" must be a list of strings, got an array)");
  gemma2(R"("use_bidirectional_attention": true)", "use_bidirectional_attention is true, which is not supported");
  gemma3(R"("sliding_window_pattern": 0)", "sliding_window_pattern is 0, expected 1 or more");
  gemma3(R"("rope_local_base_freq": 0.5)", "rope_local_base_freq is 0.5, expected between 1 and 1e15");
  gemma3(R"("attn_logit_softcapping": 50)", "attn_logit_softcapping is 50, which is not supported for gemma3_text");
  gemma3(R"("rope_parameters": {"full_attention": 1})",
         R"(rope_parameters: "full_attention" must be an object, got 1)");
  gemma3(R"("rope_parameters": {"full_attention": {}, "sliding_attention": {"rope_type": "linear", "factor": 2}})",
         "sliding_attention's rope_type must be default");
}

TEST(ModelConfigTest, AMillionLayersWithTypesAreRefusedBeforeTheyTakeMemory) {
  std::string json = Gemma("gemma2", R"("y": 0)");
  ASSERT_EQ(absl::StrReplaceAll({{R"("num_hidden_layers": 2)", R"("num_hidden_layers": 9000000000000000)"}}, &json), 1);
  ExpectError(json, "num_hidden_layers is 9000000000000000, expected 1 to 1024");
}

constexpr char kGpt2[] = R"({
  "model_type": "gpt2", "vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64,
  "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "bos_token_id": 1, "eos_token_id": 1})";

std::string Gpt2With(absl::string_view from, absl::string_view to) {
  std::string json = kGpt2;
  EXPECT_EQ(absl::StrReplaceAll({{from, to}}, &json), 1) << from;
  return json;
}

TEST(ModelConfigTest, Gpt2HasNamesOfItsOwn) {
  const absl::StatusOr<ModelConfig> c = Parse(kGpt2);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->hidden_size, 32);
  EXPECT_EQ(c->intermediate_size, 128);
  EXPECT_EQ(c->num_layers, 2);
  EXPECT_EQ(c->num_heads, 4);
  EXPECT_EQ(c->num_kv_heads, 4);
  EXPECT_EQ(c->head_dim, 8);
  EXPECT_EQ(c->max_position_embeddings, 64);
  EXPECT_FLOAT_EQ(c->rms_norm_eps, 1e-5f);
  EXPECT_EQ(c->rotary_dim(), 0);
  EXPECT_TRUE(c->tie_word_embeddings && c->qkv_bias && c->o_bias && c->mlp_bias);
  EXPECT_EQ(Parse(Gpt2With("\"n_head\"", "\"n_inner\": 48, \"n_head\""))->intermediate_size, 48);
}

TEST(ModelConfigTest, BadFieldsOfGpt2AreNamed) {
  for (const char* name : {"vocab_size", "n_embd", "n_layer", "n_head"}) {
    ExpectError(Gpt2With(absl::StrCat("\"", name, "\""), "\"other\""), absl::StrCat("\"", name, "\" is missing"));
  }
  ExpectError(Gpt2With("gelu_new", "relu"), "activation_function \"relu\" is not supported; known is gelu_new");
  ExpectError(Gpt2With(": 32", ": 9223372036854775807"),
              "hidden_size 9223372036854775807 is not divisible by 4 attention "
              "heads, and there is no head_dim");
  ExpectError(Gpt2With(": 1e-05", ": 2"), "rms_norm_eps is 1, expected between 0 and 1");
  const auto with = [](absl::string_view field) { return Gpt2With("\"n_head\"", absl::StrCat(field, ", \"n_head\"")); };
  ExpectError(with(R"("scale_attn_weights": false)"), "scale_attn_weights is false, which is not supported");
  ExpectError(with(R"("scale_attn_by_inverse_layer_idx": true)"),
              "scale_attn_by_inverse_layer_idx is true, which is not supported");
  ExpectError(with(R"("add_cross_attention": true)"), "add_cross_attention is true, which is not supported");
}

TEST(ModelConfigTest, Phi3RotatesAPartOfEachHeadInBothSpellings) {
  EXPECT_EQ(Parse(Of("phi3", kLlama))->rotary_dim(), 8);
  EXPECT_EQ(Parse(Of("phi3", And(R"("partial_rotary_factor": 0.5)")))->rotary_dim(), 4);
  const std::string inside = And(R"("rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25})");
  EXPECT_EQ(Parse(Of("phi3", inside))->rotary_dim(), 2);
  EXPECT_EQ(Parse(Of("phi3", And(R"("sliding_window": 2047)")))->sliding_window, 2047);
  EXPECT_EQ(Parse(Of("phi3", kLlama))->sliding_window, 0);
  ExpectError(Of("phi3", And(R"("partial_rotary_factor": 0.4)")),
              "3 dimensions of a head_dim of 8 would be rotated, but rotary positions need an even number");
  ExpectError(Of("phi3", And(R"("partial_rotary_factor": 1.5)")), "partial_rotary_factor is 1.5, expected 0 to 1");
}

TEST(ModelConfigTest, SizesMustFitEachOther) {
  ExpectError(With(R"(key_value_heads": 2)", R"(key_value_heads": 3)"),
              "4 attention heads do not share 3 key-value heads evenly");
  ExpectError(With(R"("hidden_size": 32)", R"("hidden_size": 34)"),
              "hidden_size 34 is not divisible by 4 attention heads, and there is no head_dim");
  ExpectError(And(R"("head_dim": 7)"),
              "7 dimensions of a head_dim of 7 would be rotated, but rotary positions need an even number");
}

TEST(ModelConfigTest, HostileNumbersAreOutOfRange) {
  ExpectError(With(": 97", ": 0"), "vocab_size is 0, expected 1 to 16777216");
  ExpectError(With(": 97", ": 9223372036854775807"), "vocab_size is 9223372036854775807, expected 1 to 16777216");
  ExpectError(With(": 97", ": 18446744073709551615"),
              R"("vocab_size" must be a non-negative integer, got 18446744073709551615)");
  ExpectError(With(": 97", ": -1"), R"("vocab_size" must be a non-negative integer, got -1)");
  ExpectError(With(R"(attention_heads": 4)", R"(attention_heads": 0)"), "num_attention_heads is 0, expected 1 to 1024");
  ExpectError(With(R"(value_heads": 2)", R"(value_heads": 0)"), "num_key_value_heads is 0, expected 1 to 1024");
  ExpectError(With(": 1e-05", ": 0"), "rms_norm_eps is 0, expected between 0 and 1");
  ExpectError(With(": 1e-05", ": 1e300"), "rms_norm_eps is 1, expected between 0 and 1");
  ExpectError(And(R"("rope_theta": -1)"), "rope_theta is -1, expected between 1 and 1e15");
}

TEST(ModelConfigTest, HostileRopeScalingIsRefused) {
  const auto llama3 = [](absl::string_view factor, absl::string_view low, absl::string_view high,
                         absl::string_view original) {
    return And(absl::StrCat(R"("rope_scaling": {"rope_type": "llama3", "factor": )", factor, R"(, "low_freq_factor": )",
                            low, R"(, "high_freq_factor": )", high, R"(, "original_max_position_embeddings": )",
                            original, "}"));
  };
  EXPECT_TRUE(Parse(llama3("8", "1", "4", "8192")).ok());
  for (const char* factor : {"0", "-1", "1e308", "0.5"}) {
    ExpectError(llama3(factor, "1", "4", "8192"),
                absl::StrCat("rope_scaling: factor is ", std::stod(factor), ", expected 1 to 1e6"));
  }
  ExpectError(llama3("8", "4", "4", "8192"),
              "rope_scaling: low_freq_factor 4 and high_freq_factor 4, expected 0 < low < high");
  ExpectError(llama3("8", "0", "4", "8192"),
              "rope_scaling: low_freq_factor 0 and high_freq_factor 4, expected 0 < low < high");
  ExpectError(llama3("8", "1", "4", "1e300"),
              "rope_scaling: \"original_max_position_embeddings\" must be a non-negative integer, got 1e+300");
  ExpectError(llama3("8", "1", "4", "0"),
              "rope_scaling: original_max_position_embeddings is 0, expected 1 to 268435456");
}

TEST(ModelConfigTest, DamagedOrDeeplyNestedJsonIsAnError) {
  for (const char* json : {"", "{", "[]", "null", "{\"vocab_size\": }", "\xff"}) {
    ExpectError(json, "not a JSON object; is the file damaged?");
  }
  const std::string deep = std::string(200000, '[') + std::string(200000, ']');
  ExpectError(With(": 97", absl::StrCat(": ", deep)), R"("vocab_size" must be a non-negative integer, got an array)");
  ExpectError(With("[2, 3]", deep), R"("eos_token_id" must be token ids, got an array)");
}

TEST(ModelConfigTest, WhatIsWrittenIsReadBack) {
  const std::string llama3 = And(R"("rope_theta": 5e5, "mlp_bias": true, "head_dim": 10, "rope_scaling": {
      "rope_type": "llama3", "factor": 8, "low_freq_factor": 1.5, "high_freq_factor": 4.5,
      "original_max_position_embeddings": 256})");
  const std::string linear = And(R"("attention_bias": true, "rope_scaling": {"type": "linear", "factor": 2.5})");
  for (const std::string& json :
       {std::string(kLlama), llama3, linear, Of("qwen2", kLlama), Of("qwen3", kLlama), Of("mistral", kLlama),
        Of("mistral", And(R"("sliding_window": null)")),
        Gemma("gemma2", R"("query_pre_attn_scalar": 144, "attn_logit_softcapping": null)"),
        Gemma("gemma3_text", R"("rope_scaling": {"type": "linear", "factor": 8})"), std::string(kGpt2),
        Of("phi3", And(R"("partial_rotary_factor": 0.5, "pad_token_id": 5)"))}) {
    const ModelConfig first = *Parse(json);
    const std::string written = ModelConfigToJson(first, "bfloat16");
    const absl::StatusOr<ModelConfig> again = Parse(written);
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << written;
    EXPECT_EQ(ModelConfigToJson(*again, "bfloat16"), written);
    EXPECT_EQ(again->rope_scaling.kind, first.rope_scaling.kind);
    EXPECT_EQ(again->rope_scaling.low_freq_factor, first.rope_scaling.low_freq_factor);
    EXPECT_EQ(again->rope_theta, first.rope_theta);
    EXPECT_EQ(again->rms_norm_eps, first.rms_norm_eps);
    EXPECT_EQ(again->head_dim, first.head_dim);
    EXPECT_EQ(again->qkv_bias, first.qkv_bias);
    EXPECT_EQ(again->mlp_bias, first.mlp_bias);
    EXPECT_EQ(again->qk_norm, first.qk_norm);
    EXPECT_EQ(again->sliding_window, first.sliding_window);
    EXPECT_EQ(again->sliding_layers, first.sliding_layers);
    EXPECT_EQ(again->query_pre_attn_scalar, first.query_pre_attn_scalar);
    EXPECT_EQ(again->attn_softcap, first.attn_softcap);
    EXPECT_EQ(again->final_softcap, first.final_softcap);
    EXPECT_EQ(again->rope_local_theta, first.rope_local_theta);
    EXPECT_EQ(again->partial_rotary_factor, first.partial_rotary_factor);
    EXPECT_EQ(again->intermediate_size, first.intermediate_size);
    EXPECT_EQ(again->tie_word_embeddings, first.tie_word_embeddings);
    EXPECT_EQ(again->eos_token_ids, first.eos_token_ids);
    EXPECT_EQ(again->pad_token_id, first.pad_token_id);
    EXPECT_NE(written.find(R"("torch_dtype": "bfloat16")"), std::string::npos);
  }
}

}  // namespace
}  // namespace lorikeet
