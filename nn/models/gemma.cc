#include "nn/models/gemma.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "autograd/ops/elementwise.h"
#include "tensor/ops/rope.h"

namespace lorikeet {
namespace {

constexpr NormWeight kStored = NormWeight::kScaleMinusOne;

// sqrt(hidden) as a number of the compute dtype.
double EmbedScale(int64_t hidden, DType dtype) {
  return Tensor::Scalar(std::sqrt(static_cast<double>(hidden)), dtype).item();
}

}  // namespace

GemmaLayer::GemmaLayer(const ModelConfig& c, int64_t index)
    : windowed_(c.WindowOf(index) > 0),
      input_norm_(c.hidden_size, c.rms_norm_eps, kStored),
      post_attention_norm_(c.hidden_size, c.rms_norm_eps, kStored),
      pre_feedforward_norm_(c.hidden_size, c.rms_norm_eps, kStored),
      post_feedforward_norm_(c.hidden_size, c.rms_norm_eps, kStored),
      attention_(c, index, kStored),
      mlp_(c.hidden_size, c.intermediate_size, /*bias=*/false, Gate::kGelu) {}

Variable GemmaLayer::operator()(const Variable& h, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache) {
  const Variable a = attention_(input_norm_(h), batch, rope, cache);
  const auto [sum, normed] = pre_feedforward_norm_.AddNorm(post_attention_norm_(a), h);
  return Add(sum, post_feedforward_norm_(mlp_(normed)));
}

void GemmaLayer::Visit(Visitor& v) {
  v.Child("input_layernorm", input_norm_);
  v.Child("self_attn", attention_);
  v.Child("post_attention_layernorm", post_attention_norm_);
  v.Child("pre_feedforward_layernorm", pre_feedforward_norm_);
  v.Child("mlp", mlp_);
  v.Child("post_feedforward_layernorm", post_feedforward_norm_);
}

Gemma::Gemma(const ModelConfig& c, DType compute_dtype)
    : CausalLm(c, compute_dtype),
      embed_scale_(EmbedScale(c.hidden_size, compute_dtype)),
      rotary_(c.rope_theta, c.head_dim, c.rope_scaling),
      local_rotary_(c.rope_local_theta > 0 ? Rotary(c.rope_local_theta, c.head_dim) : rotary_),
      norm_(c.hidden_size, c.rms_norm_eps, kStored) {
  for (int64_t i = 0; i < c.num_layers; ++i) layers_.push_back(std::make_unique<GemmaLayer>(c, i));
}

Variable Gemma::Hidden(const Batch& batch, KvCache* cache) {
  const tensor::RopeTable everywhere = rotary_(batch.positions, cache);
  const tensor::RopeTable local = local_rotary_(batch.positions, cache);
  const Variable embedded = Scale(embed()(batch.tokens, compute_dtype()), embed_scale_);
  const Variable h =
      run_layers()(embedded, layers_, [batch, everywhere, local, cache](GemmaLayer& layer, const Variable& x) {
        return layer(x, batch, layer.windowed() ? local : everywhere, cache);
      });
  if (cache != nullptr) cache->Advance(batch.tokens.size());
  return norm_(h);
}

void Gemma::Visit(Visitor& v) {
  v.Scope("model", [&] {
    v.Child("embed_tokens", embed());
    for (size_t i = 0; i < layers_.size(); ++i) v.Child(absl::StrCat("layers.", i), *layers_[i]);
    v.Child("norm", norm_);
  });
  VisitHead(v);
}

}  // namespace lorikeet
