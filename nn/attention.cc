#include "nn/attention.h"

#include <cmath>

#include "autograd/ops/attention.h"
#include "autograd/ops/rope.h"
#include "autograd/ops/shape.h"
#include "tensor/check.h"

namespace lorikeet {

SelfAttention::SelfAttention(const ModelConfig& c, int64_t layer)
    : layer_(layer),
      num_heads_(c.num_heads),
      num_kv_heads_(c.num_kv_heads),
      head_dim_(c.head_dim),
      q_(c.hidden_size, c.num_heads * c.head_dim, c.qkv_bias),
      k_(c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias),
      v_(c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias),
      o_(c.num_heads * c.head_dim, c.hidden_size, c.o_bias) {}

Variable SelfAttention::operator()(const Variable& x, const Batch& batch, const tensor::RopeTable& rope,
                                   KvCache* cache) {
  const int64_t tokens = x.shape()[0];
  const Variable q = Rope(Reshape(q_(x), {tokens, num_heads_, head_dim_}), rope);
  Variable k = Rope(Reshape(k_(x), {tokens, num_kv_heads_, head_dim_}), rope);
  Variable v = Reshape(v_(x), {tokens, num_kv_heads_, head_dim_});
  tensor::AttentionArgs args{.cu_seqlens_q = batch.cu_seqlens, .cu_seqlens_k = batch.cu_seqlens};
  args.scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
  args.causal = true;
  if (cache != nullptr) {
    LORIKEET_CHECK_EQ(batch.cu_seqlens.size(), 2) << "a KV cache holds one sequence";
    const auto [all_k, all_v] = cache->Append(layer_, k.value(), v.value());
    k = all_k;
    v = all_v;
    args.cu_seqlens_k = Tensor::From<int32_t>({0, static_cast<int32_t>(all_k.dim(0))}, {2});
  }
  return o_(Reshape(Attention(q, k, v, args), {tokens, num_heads_ * head_dim_}));
}

void SelfAttention::Visit(Visitor& v) {
  v.Child("q_proj", q_);
  v.Child("k_proj", k_);
  v.Child("v_proj", v_);
  v.Child("o_proj", o_);
}

}  // namespace lorikeet
