// Attention: every query's weighted mean of the values whose keys it sees. Grouped-query, over ragged batches, fused:
// memory grows with the number of tokens, never with its square.
//
//   AttentionArgs args{.cu_seqlens_q = cu, .cu_seqlens_k = cu, .scale = 1 / std::sqrt(64.f)};    // causal
//   auto [y, lse] = Attention(q, k, v, args);
//   auto [dq, dk, dv] = AttentionGrad(dy, q, k, v, y, lse, args);
//
//   y = softmax(scale * q*k^T + mask) * v            q [tokens, heads, d], k and v [ctx, kv_heads, d], y like q
//
// Head h reads key-value head h * kv_heads / heads. lse [tokens, heads], f32 (f64 for f64), is the logarithm of each
// softmax's denominator, which the gradient needs.
// A batch is flat: sequence n is the tokens cu_seqlens_q[n] .. cu_seqlens_q[n+1] and the keys cu_seqlens_k[n] ..
// cu_seqlens_k[n+1]; sequences never see each other. Where a sequence has more keys than queries (cached decoding), its
// queries are its last positions. tensor/kernels/attention.h has the masks, the gradients, the arithmetic and sources.
// dtypes: q, k and v agree: f64, f32, bf16 or f16. Strides are arbitrary: slices of one qkv tensor or of a cache are
// read where they lie.
// Errors: wrong shapes, dtypes, devices or cu_seqlens abort. Threads: any; bits do not depend on how many work.
#ifndef LORIKEET_TENSOR_OPS_ATTENTION_H_
#define LORIKEET_TENSOR_OPS_ATTENTION_H_

#include <cstdint>

#include "tensor/tensor.h"

namespace lorikeet::tensor {

struct AttentionArgs {
  Tensor cu_seqlens_q, cu_seqlens_k;  // i32 [sequences + 1], ascending from 0 to tokens and to ctx
  float scale = 1;
  bool causal = true;
  int64_t window = 0;  // > 0: a query at position p sees keys p - window + 1 .. p (.. p + window - 1 if not causal)
  float softcap = 0;   // > 0: scores become softcap * tanh(score / softcap)
};

struct AttentionResult {
  Tensor y, lse;
};
AttentionResult Attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionArgs& args);

struct AttentionGradResult {
  Tensor dq, dk, dv;
};
AttentionGradResult AttentionGrad(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                                  const Tensor& lse, const AttentionArgs& args);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_ATTENTION_H_
