#include "nn/models/phi3.h"

#include "absl/strings/str_cat.h"
#include "autograd/ops/activation.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/rope.h"
#include "autograd/ops/shape.h"

namespace lorikeet {

Phi3Layer::Phi3Layer(const ModelConfig& c, int64_t index)
    : heads_(c.num_heads),
      kv_heads_(c.num_kv_heads),
      head_dim_(c.head_dim),
      intermediate_(c.intermediate_size),
      attend_(c, index),
      input_norm_(c.hidden_size, c.rms_norm_eps),
      post_attention_norm_(c.hidden_size, c.rms_norm_eps),
      qkv_(c.hidden_size, (c.num_heads + 2 * c.num_kv_heads) * c.head_dim, /*bias=*/false),
      o_(c.num_heads * c.head_dim, c.hidden_size, /*bias=*/false),
      gate_up_(c.hidden_size, 2 * c.intermediate_size, /*bias=*/false),
      down_(c.intermediate_size, c.hidden_size, /*bias=*/false) {}

Variable Phi3Layer::Attention(const Variable& x, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache) {
  const Variable qkv = Reshape(qkv_(x), {x.shape()[0], heads_ + 2 * kv_heads_, head_dim_});
  const std::vector<Variable> part = Split(qkv, 1, {heads_, kv_heads_, kv_heads_});
  return o_(attend_(Rope(part[0], rope), Rope(part[1], rope), part[2], batch, cache));
}

Variable Phi3Layer::Mlp(const Variable& x) {
  const std::vector<Variable> half = Split(gate_up_(x), 1, {intermediate_, intermediate_});
  return down_(SwiGlu(half[0], half[1]));
}

Variable Phi3Layer::operator()(const Variable& h, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache) {
  const Variable a = Attention(input_norm_(h), batch, rope, cache);
  const auto [sum, normed] = post_attention_norm_.AddNorm(a, h);
  return Add(sum, Mlp(normed));
}

void Phi3Layer::Visit(Visitor& v) {
  v.Child("input_layernorm", input_norm_);
  v.Scope("self_attn", [&] {
    v.Child("qkv_proj", qkv_);
    v.Child("o_proj", o_);
  });
  v.Child("post_attention_layernorm", post_attention_norm_);
  v.Scope("mlp", [&] {
    v.Child("gate_up_proj", gate_up_);
    v.Child("down_proj", down_);
  });
}

Phi3::Phi3(const ModelConfig& c, DType compute_dtype)
    : CausalLm(c, compute_dtype),
      rotary_(c.rope_theta, c.rotary_dim(), c.rope_scaling),
      norm_(c.hidden_size, c.rms_norm_eps) {
  for (int64_t i = 0; i < c.num_layers; ++i) layers_.push_back(std::make_unique<Phi3Layer>(c, i));
}

Variable Phi3::Hidden(const Batch& batch, KvCache* cache) {
  const tensor::RopeTable rope = rotary_(batch.positions, cache);
  const Variable h =
      run_layers()(embed()(batch.tokens, compute_dtype()), layers_,
                   [batch, rope, cache](Phi3Layer& layer, const Variable& x) { return layer(x, batch, rope, cache); });
  if (cache != nullptr) cache->Advance(batch.tokens.size());
  return norm_(h);
}

void Phi3::Visit(Visitor& v) {
  v.Scope("model", [&] {
    v.Child("embed_tokens", embed());
    for (size_t i = 0; i < layers_.size(); ++i) v.Child(absl::StrCat("layers.", i), *layers_[i]);
    v.Child("norm", norm_);
  });
  VisitHead(v);
}

}  // namespace lorikeet
