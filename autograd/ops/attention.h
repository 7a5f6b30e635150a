// Differentiable attention over flat batches; the [tokens, tokens] matrix is never formed.
//
//   Variable y = Attention(q, k, v, args);     // q [tokens, heads, d], k and v [ctx, kv_heads, d] -> like q
//
// Arguments and masks: tensor/ops/attention.h. Dao et al., "FlashAttention", 2022.
#ifndef LORIKEET_AUTOGRAD_OPS_ATTENTION_H_
#define LORIKEET_AUTOGRAD_OPS_ATTENTION_H_

#include "autograd/variable.h"
#include "tensor/ops/attention.h"

namespace lorikeet {

Variable Attention(const Variable& q, const Variable& k, const Variable& v, const tensor::AttentionArgs& args);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_ATTENTION_H_
