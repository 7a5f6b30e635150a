#include "nn/gguf_export.h"

#include <cmath>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "nn/gguf_architecture.h"
#include "tensor/check.h"
#include "tensor/ops/rope_scaling.h"

namespace lorikeet {
namespace {

using Kind = RopeScaling::Kind;

void AddRopeScaling(const RopeScaling& s, const std::string& rope, GgufValues* values) {
  if (s.kind == Kind::kLinear || s.kind == Kind::kYarn) {
    values->String(rope + "type", s.kind == Kind::kLinear ? "linear" : "yarn");
    values->F32(rope + "factor", static_cast<float>(s.factor));
  }
  if (s.kind == Kind::kYarn) {
    values->F32(rope + "yarn_beta_fast", static_cast<float>(s.beta_fast));
    values->F32(rope + "yarn_beta_slow", static_cast<float>(s.beta_slow));
  }
  if (s.kind == Kind::kLongRope) values->F32(rope + "attn_factor", static_cast<float>(tensor::RopeAttentionFactor(s)));
  if (s.kind == Kind::kYarn || s.kind == Kind::kLongRope)
    values->U32(rope + "original_context_length", static_cast<uint32_t>(s.original_max_position));
}

}  // namespace

absl::Status CheckGgufRope(const ModelConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  if (s.kind == Kind::kLongRope && config.model_type != "phi3")
    return absl::InvalidArgumentError(absl::StrCat("rope_type longrope of a model of type ", config.model_type,
                                                   " has no form in GGUF; only Phi-3's has"));
  if (s.kind != Kind::kYarn) return absl::OkStatus();
  RopeScaling usual = s;
  usual.attention_factor = 0;
  const double sharpness = tensor::RopeAttentionFactor(usual);
  if (s.truncate && std::abs(tensor::RopeAttentionFactor(s) - sharpness) <= 1e-6 * sharpness) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "YaRN with an attention_factor of its own, or with truncate false, has no form in GGUF");
}

void AddModelValues(const ModelConfig& c, GgufValues* values) {
  const GgufArchitecture* architecture = GgufArchitectureOf(c.model_type);
  LORIKEET_CHECK(architecture != nullptr) << "model_type " << c.model_type << " has no architecture in GGUF";
  values->String("general.architecture", architecture->name);
  const auto key = [&](absl::string_view name) { return absl::StrCat(architecture->name, ".", name); };
  const auto number = [&](absl::string_view name, int64_t n) { values->U32(key(name), static_cast<uint32_t>(n)); };
  number("vocab_size", c.vocab_size);
  number("context_length", c.max_position_embeddings);
  number("embedding_length", c.hidden_size);
  number("block_count", c.num_layers);
  number("feed_forward_length", c.intermediate_size);
  number("attention.head_count", c.num_heads);
  number("attention.head_count_kv", c.num_kv_heads);
  number("attention.key_length", c.head_dim);
  number("attention.value_length", c.head_dim);
  number("rope.dimension_count", c.rotary_dim());
  if (c.sliding_window > 0) number("attention.sliding_window", c.sliding_window);
  if (c.attn_softcap > 0) values->F32(key("attn_logit_softcapping"), c.attn_softcap);
  if (c.final_softcap > 0) values->F32(key("final_logit_softcapping"), c.final_softcap);
  values->F32(key("attention.layer_norm_rms_epsilon"), c.rms_norm_eps);
  values->F32(key("rope.freq_base"), static_cast<float>(c.rope_theta));
  AddRopeScaling(c.rope_scaling, key("rope.scaling."), values);
}

}  // namespace lorikeet
