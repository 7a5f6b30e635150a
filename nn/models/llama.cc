#include "nn/models/llama.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "autograd/ops/elementwise.h"
#include "tensor/ops/rope.h"

namespace lorikeet {

LlamaLayer::LlamaLayer(const ModelConfig& c, int64_t index)
    : input_norm_(c.hidden_size, c.rms_norm_eps),
      post_attention_norm_(c.hidden_size, c.rms_norm_eps),
      attention_(c, index),
      mlp_(c.hidden_size, c.intermediate_size, c.mlp_bias, Gate::kSilu) {}

Variable LlamaLayer::operator()(const Variable& h, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache) {
  const Variable a = attention_(input_norm_(h), batch, rope, cache);
  const auto [sum, normed] = post_attention_norm_.AddNorm(a, h);
  return Add(sum, mlp_(normed));
}

void LlamaLayer::Visit(Visitor& v) {
  v.Child("input_layernorm", input_norm_);
  v.Child("self_attn", attention_);
  v.Child("post_attention_layernorm", post_attention_norm_);
  v.Child("mlp", mlp_);
}

Llama::Llama(const ModelConfig& c, DType compute_dtype)
    : CausalLm(c, compute_dtype),
      rotary_(c.rope_theta, c.head_dim, c.rope_scaling),
      norm_(c.hidden_size, c.rms_norm_eps) {
  for (int64_t i = 0; i < c.num_layers; ++i) layers_.push_back(std::make_unique<LlamaLayer>(c, i));
}

Variable Llama::Hidden(const Batch& batch, KvCache* cache) {
  const tensor::RopeTable rope = rotary_(batch.positions, cache);
  const Variable h =
      run_layers()(embed()(batch.tokens, compute_dtype()), layers_,
                   [batch, rope, cache](LlamaLayer& layer, const Variable& x) { return layer(x, batch, rope, cache); });
  if (cache != nullptr) cache->Advance(batch.tokens.size());
  return norm_(h);
}

void Llama::Visit(Visitor& v) {
  v.Scope("model", [&] {
    v.Child("embed_tokens", embed());
    for (size_t i = 0; i < layers_.size(); ++i) v.Child(absl::StrCat("layers.", i), *layers_[i]);
    v.Child("norm", norm_);
  });
  VisitHead(v);
}

}  // namespace lorikeet
