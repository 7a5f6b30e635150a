#include "nn/attention.h"

#include "autograd/ops/rope.h"
#include "autograd/ops/shape.h"

namespace lorikeet {

SelfAttention::SelfAttention(const ModelConfig& c, int64_t layer, NormWeight stored)
    : num_heads_(c.num_heads),
      num_kv_heads_(c.num_kv_heads),
      head_dim_(c.head_dim),
      attend_(c, layer),
      q_(c.hidden_size, c.num_heads * c.head_dim, c.qkv_bias),
      k_(c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias),
      v_(c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias),
      o_(c.num_heads * c.head_dim, c.hidden_size, c.o_bias) {
  if (!c.qk_norm) return;
  q_norm_.emplace(c.head_dim, c.rms_norm_eps, stored);
  k_norm_.emplace(c.head_dim, c.rms_norm_eps, stored);
}

Variable SelfAttention::operator()(const Variable& x, const Batch& batch, const tensor::RopeTable& rope,
                                   KvCache* cache) {
  const int64_t tokens = x.shape()[0];
  Variable q = Reshape(q_(x), {tokens, num_heads_, head_dim_});
  Variable k = Reshape(k_(x), {tokens, num_kv_heads_, head_dim_});
  const Variable v = Reshape(v_(x), {tokens, num_kv_heads_, head_dim_});
  if (q_norm_) q = (*q_norm_)(q);
  if (k_norm_) k = (*k_norm_)(k);
  return o_(attend_(Rope(q, rope), Rope(k, rope), v, batch, cache));
}

void SelfAttention::Visit(Visitor& v) {
  v.Child("q_proj", q_);
  v.Child("k_proj", k_);
  v.Child("v_proj", v_);
  v.Child("o_proj", o_);
  if (q_norm_) v.Child("q_norm", *q_norm_);
  if (k_norm_) v.Child("k_norm", *k_norm_);
}

}  // namespace lorikeet
