#include "nn/models/gpt2.h"

#include "absl/strings/str_cat.h"
#include "autograd/ops/activation.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/shape.h"

namespace lorikeet {

Gpt2Layer::Gpt2Layer(const ModelConfig& c, int64_t index)
    : heads_(c.num_heads),
      head_dim_(c.head_dim),
      attend_(c, index),
      norm1_(c.hidden_size, c.rms_norm_eps),
      norm2_(c.hidden_size, c.rms_norm_eps),
      attn_(Linear::Conv1D(c.hidden_size, 3 * c.hidden_size)),
      attn_proj_(Linear::Conv1D(c.hidden_size, c.hidden_size)),
      fc_(Linear::Conv1D(c.hidden_size, c.intermediate_size)),
      fc_proj_(Linear::Conv1D(c.intermediate_size, c.hidden_size)) {}

Variable Gpt2Layer::Attention(const Variable& x, const Batch& batch, KvCache* cache) {
  const Variable qkv = Reshape(attn_(x), {x.shape()[0], 3 * heads_, head_dim_});
  const std::vector<Variable> part = Split(qkv, 1, {heads_, heads_, heads_});
  return attn_proj_(attend_(part[0], part[1], part[2], batch, cache));
}

Variable Gpt2Layer::operator()(const Variable& h, const Batch& batch, KvCache* cache) {
  const Variable sum = Add(h, Attention(norm1_(h), batch, cache));
  return Add(sum, fc_proj_(Gelu(fc_(norm2_(sum)))));
}

void Gpt2Layer::Visit(Visitor& v) {
  v.Child("ln_1", norm1_);
  v.Scope("attn", [&] {
    v.Child("c_attn", attn_);
    v.Child("c_proj", attn_proj_);
  });
  v.Child("ln_2", norm2_);
  v.Scope("mlp", [&] {
    v.Child("c_fc", fc_);
    v.Child("c_proj", fc_proj_);
  });
}

Gpt2::Gpt2(const ModelConfig& c, DType compute_dtype)
    : CausalLm(c, compute_dtype),
      positions_(c.max_position_embeddings, c.hidden_size),
      norm_(c.hidden_size, c.rms_norm_eps) {
  for (int64_t i = 0; i < c.num_layers; ++i) layers_.push_back(std::make_unique<Gpt2Layer>(c, i));
}

Variable Gpt2::Hidden(const Batch& batch, KvCache* cache) {
  const Variable embedded = Add(embed()(batch.tokens, compute_dtype()), positions_(batch.positions, compute_dtype()));
  const Variable h = run_layers()(
      embedded, layers_, [batch, cache](Gpt2Layer& layer, const Variable& x) { return layer(x, batch, cache); });
  if (cache != nullptr) cache->Advance(batch.tokens.size());
  return norm_(h);
}

void Gpt2::Visit(Visitor& v) {
  v.Scope("transformer", [&] {
    v.Child("wte", embed());
    v.Child("wpe", positions_);
    for (size_t i = 0; i < layers_.size(); ++i) v.Child(absl::StrCat("h.", i), *layers_[i]);
    v.Child("ln_f", norm_);
  });
  VisitHead(v);
}

}  // namespace lorikeet
