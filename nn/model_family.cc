#include "nn/model_family.h"

#include <cmath>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nn/rope_config.h"
#include "tensor/ops/rope_scaling.h"

namespace lorikeet {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxLayers = 1024;  // more are refused later on

// Only `known` may stand there, under any of these names.
void CheckActivation(Fields& f, const char* name, const char* known) {
  std::string activation = known;
  f.String(name, &activation);
  if (activation != known) f.Fail(name, " \"", activation, "\" is not supported; known is ", known);
}

// A double beyond float's range has no float.
void ReadEpsilon(Fields& f, const char* name, double otherwise, ModelConfig* c) {
  f.Number(name, &otherwise);
  c->rms_norm_eps = static_cast<float>(std::fmin(otherwise, 1));
}

// What all but GPT-2 spell alike. c holds the family's defaults.
void ReadSizes(Fields& f, double eps, ModelConfig* c) {
  f.Int("vocab_size", &c->vocab_size, true);
  f.Int("hidden_size", &c->hidden_size, true);
  f.Int("intermediate_size", &c->intermediate_size, true);
  f.Int("num_hidden_layers", &c->num_layers, true);
  f.Int("num_attention_heads", &c->num_heads, true);
  if (c->num_kv_heads == 0) c->num_kv_heads = c->num_heads;
  f.Int("num_key_value_heads", &c->num_kv_heads);
  f.Int("head_dim", &c->head_dim);
  f.Int("max_position_embeddings", &c->max_position_embeddings);
  ReadEpsilon(f, "rms_norm_eps", eps, c);
  f.Bool("tie_word_embeddings", &c->tie_word_embeddings);
}

void WriteSizes(const ModelConfig& c, Json* j) {
  (*j)["vocab_size"] = c.vocab_size;
  (*j)["hidden_size"] = c.hidden_size;
  (*j)["intermediate_size"] = c.intermediate_size;
  (*j)["num_hidden_layers"] = c.num_layers;
  (*j)["num_attention_heads"] = c.num_heads;
  (*j)["num_key_value_heads"] = c.num_kv_heads;
  (*j)["head_dim"] = c.head_dim;
  (*j)["max_position_embeddings"] = c.max_position_embeddings;
  (*j)["rms_norm_eps"] = static_cast<double>(c.rms_norm_eps);
  (*j)["tie_word_embeddings"] = c.tie_word_embeddings;
}

// Llama and those that differ from it in a switch.
void ReadLlamaLike(Fields& f, ModelConfig* c) {
  ReadSizes(f, 1e-6, c);
  CheckActivation(f, "hidden_act", "silu");
  bool sliding_window = false;
  f.Bool("use_sliding_window", &sliding_window);
  if (sliding_window) f.Fail("use_sliding_window is true, which is not supported for ", c->model_type);
  ReadRope(f, c);
}

void WriteLlamaLike(const ModelConfig& c, Json* j) {
  WriteSizes(c, j);
  (*j)["hidden_act"] = "silu";
  WriteRope(c, j);
}

void ReadLlama(Fields& f, ModelConfig* c) {
  ReadLlamaLike(f, c);
  f.Bool("mlp_bias", &c->mlp_bias);
  f.Bool("attention_bias", &c->qkv_bias);
  c->o_bias = c->qkv_bias;
}

void WriteLlama(const ModelConfig& c, Json* j) {
  WriteLlamaLike(c, j);
  (*j)["attention_bias"] = c.qkv_bias;
  (*j)["mlp_bias"] = c.mlp_bias;
}

void ReadQwen2(Fields& f, ModelConfig* c) {
  ReadLlamaLike(f, c);
  c->qkv_bias = true;
}

void ReadQwen3(Fields& f, ModelConfig* c) {
  c->head_dim = 128;
  ReadLlamaLike(f, c);
  f.Bool("attention_bias", &c->qkv_bias);
  c->o_bias = c->qkv_bias;
  c->qk_norm = true;
}

void WriteQwen3(const ModelConfig& c, Json* j) {
  WriteLlamaLike(c, j);
  (*j)["attention_bias"] = c.qkv_bias;
  (*j)["use_sliding_window"] = false;
}

// A window that is absent has the family's size; null means none.
void ReadWindow(Fields& f, int64_t otherwise, ModelConfig* c) {
  c->sliding_window = f.Has("sliding_window") ? 0 : otherwise;
  f.Int("sliding_window", &c->sliding_window);
}

void WriteWindow(const ModelConfig& c, Json* j) {
  (*j)["sliding_window"] = c.sliding_window > 0 ? Json(c.sliding_window) : Json(nullptr);
}

void ReadMistral(Fields& f, ModelConfig* c) {
  c->num_kv_heads = 8;
  ReadLlamaLike(f, c);
  ReadWindow(f, 4096, c);
}

void WriteMistral(const ModelConfig& c, Json* j) {
  WriteLlamaLike(c, j);
  WriteWindow(c, j);
}

// Which layers have the window: a list, or else every layer but each `pattern`-th.
void ReadLayerTypes(Fields& f, int64_t pattern, ModelConfig* c) {
  f.Int("sliding_window_pattern", &pattern);
  std::vector<std::string> types;
  f.Strings("layer_types", &types);
  for (const std::string& type : types) {
    if (type != "sliding_attention" && type != "full_attention") {
      f.Fail("layer_types has \"", type, "\"; known are sliding_attention and full_attention");
    }
    c->sliding_layers.push_back(type == "sliding_attention");
  }
  if (!types.empty() || c->num_layers > kMaxLayers) return;
  if (pattern == 0) return f.Fail("sliding_window_pattern is 0, expected 1 or more");
  for (int64_t i = 1; i <= c->num_layers; ++i) c->sliding_layers.push_back(i % pattern != 0);
}

void ReadGemma(Fields& f, ModelConfig* c) {
  c->num_kv_heads = 4;
  c->head_dim = 256;
  c->tie_word_embeddings = true;
  c->query_pre_attn_scalar = 256;
  ReadSizes(f, 1e-6, c);
  CheckActivation(f, "hidden_activation", "gelu_pytorch_tanh");
  ReadWindow(f, 4096, c);
  f.Number("query_pre_attn_scalar", &c->query_pre_attn_scalar);
  if (c->query_pre_attn_scalar <= 0)
    f.Fail("query_pre_attn_scalar is ", c->query_pre_attn_scalar, ", expected above 0");
  f.Bool("attention_bias", &c->qkv_bias);
  c->o_bias = c->qkv_bias;
  bool bidirectional = false;
  f.Bool("use_bidirectional_attention", &bidirectional);
  if (bidirectional) f.Fail("use_bidirectional_attention is true, which is not supported");
}

// null: no cap.
void ReadSoftcap(Fields& f, const char* name, double otherwise, float* out) {
  double cap = f.Has(name) ? 0 : otherwise;
  f.Number(name, &cap);
  *out = static_cast<float>(std::fmin(cap, 1e7));  // a double beyond float's range has no float
}

void WriteSoftcap(const char* name, float cap, Json* j) {
  (*j)[name] = cap > 0 ? Json(static_cast<double>(cap)) : Json(nullptr);
}

void WriteGemma(const ModelConfig& c, Json* j) {
  WriteSizes(c, j);
  (*j)["hidden_activation"] = "gelu_pytorch_tanh";
  const double scalar = c.query_pre_attn_scalar;  // transformers insists on an integer where there is one
  (*j)["query_pre_attn_scalar"] = scalar == std::floor(scalar) ? Json(static_cast<int64_t>(scalar)) : Json(scalar);
  (*j)["attention_bias"] = c.qkv_bias;
  WriteWindow(c, j);
  for (const bool sliding : c.sliding_layers) {
    (*j)["layer_types"].push_back(sliding ? "sliding_attention" : "full_attention");
  }
  WriteRope(c, j);
  WriteSoftcap("attn_logit_softcapping", c.attn_softcap, j);
  WriteSoftcap("final_logit_softcapping", c.final_softcap, j);
}

void ReadGemma2(Fields& f, ModelConfig* c) {
  ReadGemma(f, c);
  ReadLayerTypes(f, 2, c);
  ReadRope(f, c);
  ReadSoftcap(f, "attn_logit_softcapping", 50, &c->attn_softcap);
  ReadSoftcap(f, "final_logit_softcapping", 30, &c->final_softcap);
}

// Two frequencies: for layers that see everything, and for those with a window. transformers 5 has an object for each.
void ReadGemma3Rope(Fields& f, ModelConfig* c) {
  c->rope_theta = 1e6;
  c->rope_local_theta = 1e4;
  f.Number("rope_local_base_freq", &c->rope_local_theta);
  const nlohmann::json* both = f.Object("rope_parameters");
  if (both == nullptr || !both->contains("full_attention")) return ReadRope(f, c);
  Fields layers(*both, absl::StrCat(f.where(), ": rope_parameters"));
  if (const nlohmann::json* full = layers.Object("full_attention")) ReadRopeScaling(*full, f, c);
  if (const nlohmann::json* sliding = layers.Object("sliding_attention")) {
    ModelConfig local;
    local.rope_theta = c->rope_local_theta;
    ReadRopeScaling(*sliding, f, &local);
    if (local.rope_scaling.kind != RopeScaling::Kind::kNone) f.Fail("sliding_attention's rope_type must be default");
    c->rope_local_theta = local.rope_theta;
  }
  f.Fail(layers.status());
}

void ReadGemma3(Fields& f, ModelConfig* c) {
  ReadGemma(f, c);
  ReadLayerTypes(f, 6, c);
  ReadGemma3Rope(f, c);
  c->qk_norm = true;
  ReadSoftcap(f, "final_logit_softcapping", 0, &c->final_softcap);
  float cap = 0;
  ReadSoftcap(f, "attn_logit_softcapping", 0, &cap);
  if (cap != 0) f.Fail("attn_logit_softcapping is ", cap, ", which is not supported for gemma3_text");
}

void WriteGemma3(const ModelConfig& c, Json* j) {
  WriteGemma(c, j);
  (*j)["rope_local_base_freq"] = c.rope_local_theta;
}

// Switches that no published GPT-2 sets, and that would change what it computes.
void CheckGpt2Switches(Fields& f) {
  const std::pair<const char*, bool> switches[] = {
      {"scale_attn_weights", true}, {"scale_attn_by_inverse_layer_idx", false}, {"add_cross_attention", false}};
  for (const auto& [name, usual] : switches) {
    bool value = usual;
    f.Bool(name, &value);
    if (value != usual) f.Fail(name, " is ", value ? "true" : "false", ", which is not supported");
  }
}

void ReadGpt2(Fields& f, ModelConfig* c) {
  c->max_position_embeddings = 1024;
  c->tie_word_embeddings = true;
  c->partial_rotary_factor = 0;
  f.Int("vocab_size", &c->vocab_size, true);
  f.Int("n_embd", &c->hidden_size, true);
  f.Int("n_layer", &c->num_layers, true);
  f.Int("n_head", &c->num_heads, true);
  f.Int("n_positions", &c->max_position_embeddings);
  c->num_kv_heads = c->num_heads;
  c->intermediate_size = c->hidden_size <= INT64_MAX / 4 ? 4 * c->hidden_size : 0;
  f.Int("n_inner", &c->intermediate_size);
  ReadEpsilon(f, "layer_norm_epsilon", 1e-5, c);
  f.Bool("tie_word_embeddings", &c->tie_word_embeddings);
  c->qkv_bias = c->o_bias = c->mlp_bias = true;
  CheckActivation(f, "activation_function", "gelu_new");
  CheckGpt2Switches(f);
}

void WriteGpt2(const ModelConfig& c, Json* j) {
  (*j)["vocab_size"] = c.vocab_size;
  (*j)["n_embd"] = c.hidden_size;
  (*j)["n_layer"] = c.num_layers;
  (*j)["n_head"] = c.num_heads;
  (*j)["n_positions"] = c.max_position_embeddings;
  (*j)["n_inner"] = c.intermediate_size;
  (*j)["activation_function"] = "gelu_new";
  (*j)["layer_norm_epsilon"] = static_cast<double>(c.rms_norm_eps);
  (*j)["tie_word_embeddings"] = c.tie_word_embeddings;
}

void ReadPhi3(Fields& f, ModelConfig* c) {
  c->max_position_embeddings = 4096;
  ReadSizes(f, 1e-5, c);
  CheckActivation(f, "hidden_act", "silu");
  ReadWindow(f, 0, c);
  f.Number("partial_rotary_factor", &c->partial_rotary_factor);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const nlohmann::json* inside = f.Object(name);
    if (inside == nullptr) continue;
    Fields rope(*inside, absl::StrCat(f.where(), ": ", name));
    rope.Number("partial_rotary_factor", &c->partial_rotary_factor);
    f.Fail(rope.status());
  }
  ReadRope(f, c);
}

void WritePhi3(const ModelConfig& c, Json* j) {
  WriteLlamaLike(c, j);
  WriteWindow(c, j);
  (*j)["partial_rotary_factor"] = c.partial_rotary_factor;
}

constexpr ModelFamily kFamilies[] = {
    {"gemma2", "Gemma2ForCausalLM", ReadGemma2, WriteGemma},
    {"gemma3_text", "Gemma3ForCausalLM", ReadGemma3, WriteGemma3},
    {"gpt2", "GPT2LMHeadModel", ReadGpt2, WriteGpt2},
    {"llama", "LlamaForCausalLM", ReadLlama, WriteLlama},
    {"mistral", "MistralForCausalLM", ReadMistral, WriteMistral},
    {"phi3", "Phi3ForCausalLM", ReadPhi3, WritePhi3},
    {"qwen2", "Qwen2ForCausalLM", ReadQwen2, WriteLlamaLike},
    {"qwen3", "Qwen3ForCausalLM", ReadQwen3, WriteQwen3},
};

}  // namespace

const ModelFamily* FindModelFamily(absl::string_view model_type) {
  for (const ModelFamily& family : kFamilies) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string KnownModelTypes() {
  std::string list;
  for (const ModelFamily& family : kFamilies) {
    const bool last = &family == std::end(kFamilies) - 1;
    absl::StrAppend(&list, list.empty() ? "" : last ? " and " : ", ", family.model_type);
  }
  return list;
}

}  // namespace lorikeet
