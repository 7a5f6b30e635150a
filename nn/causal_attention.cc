#include "nn/causal_attention.h"

#include <cmath>

#include "autograd/ops/attention.h"
#include "autograd/ops/shape.h"
#include "tensor/check.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

float ScoreScale(const ModelConfig& c) {
  const double scalar = c.query_pre_attn_scalar > 0 ? c.query_pre_attn_scalar : static_cast<double>(c.head_dim);
  return 1.0f / std::sqrt(static_cast<float>(scalar));
}

}  // namespace

CausalAttention::CausalAttention(const ModelConfig& c, int64_t layer)
    : layer_(layer), window_(c.WindowOf(layer)), scale_(ScoreScale(c)), softcap_(c.attn_softcap) {}

Variable CausalAttention::operator()(const Variable& q, Variable k, Variable v, const Batch& batch,
                                     KvCache* cache) const {
  tensor::AttentionArgs args{.cu_seqlens_q = batch.cu_seqlens, .cu_seqlens_k = batch.cu_seqlens};
  args.scale = scale_;
  args.causal = true;
  args.window = window_;
  args.softcap = softcap_;
  if (cache != nullptr) {
    LORIKEET_CHECK_EQ(batch.cu_seqlens.size(), 2) << "a KV cache holds one sequence";
    args.cu_seqlens_k = cache->CuSeqlens(k.shape()[0]);
    const auto [all_k, all_v] = cache->Append(layer_, k.value(), v.value(), batch.positions);
    k = all_k;
    v = all_v;
  }
  return Reshape(Attention(q, k, v, args), {q.shape()[0], q.shape()[1] * q.shape()[2]});
}

}  // namespace lorikeet
