#include "nn/gguf_export.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "nn/gguf_architecture.h"
#include "tensor/check.h"
#include "tensor/ops/rope.h"

namespace lorikeet {

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
  if (c.rope_scaling.kind != RopeScaling::Kind::kLinear) return;
  values->String(key("rope.scaling.type"), "linear");
  values->F32(key("rope.scaling.factor"), static_cast<float>(c.rope_scaling.factor));
}

}  // namespace lorikeet
