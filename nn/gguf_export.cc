#include "nn/gguf_export.h"

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensor/dtype.h"
#include "tensor/io/gguf_rope.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/rope.h"

namespace lorikeet {

void AddModelValues(const ModelConfig& c, GgufValues* values) {
  values->String("general.architecture", c.model_type);
  const auto key = [&](absl::string_view name) { return absl::StrCat(c.model_type, ".", name); };
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
  number("rope.dimension_count", c.head_dim);
  values->F32(key("attention.layer_norm_rms_epsilon"), c.rms_norm_eps);
  values->F32(key("rope.freq_base"), static_cast<float>(c.rope_theta));
  if (c.rope_scaling.kind != RopeScaling::Kind::kLinear) return;
  values->String(key("rope.scaling.type"), "linear");
  values->F32(key("rope.scaling.factor"), static_cast<float>(c.rope_scaling.factor));
}

Tensor ToGgufRows(const ModelConfig& config, absl::string_view name, const Tensor& w) {
  if (config.model_type != "llama") return w;
  if (absl::StrContains(name, ".attn_q.")) return PermuteRope(w, config.num_heads);
  if (absl::StrContains(name, ".attn_k.")) return PermuteRope(w, config.num_kv_heads);
  return w;
}

absl::optional<Tensor> RopeFactors(const ModelConfig& c) {
  if (c.rope_scaling.kind != RopeScaling::Kind::kLlama3) return absl::nullopt;
  const Tensor plain = tensor::RopeFrequencies(c.rope_theta, c.head_dim, {}, DType::kF64);
  const Tensor scaled = tensor::RopeFrequencies(c.rope_theta, c.head_dim, c.rope_scaling, DType::kF64);
  return tensor::Div(plain, scaled).Cast(DType::kF32);
}

}  // namespace lorikeet
