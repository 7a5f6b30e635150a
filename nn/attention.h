// SelfAttention: grouped-query attention with rotary positions.
//
//   SelfAttention attention(config, layer_index);
//   Variable y = attention(x, batch, rope, cache);    // x [tokens, hidden] -> [tokens, hidden]
//
//   q = rope(x*Wq^T), k = rope(x*Wk^T), v = x*Wv^T;  y = softmax(q*k^T/sqrt(d), causal)*v * Wo^T
//
// Ainslie et al., "GQA", 2023; Su et al., "RoFormer", 2021. `rope` holds the batch's angles, computed once for all
// layers. With a cache (one sequence, nothing recorded) the new rows attend to all that it holds.
#ifndef LORIKEET_NN_ATTENTION_H_
#define LORIKEET_NN_ATTENTION_H_

#include <cstdint>

#include "autograd/variable.h"
#include "nn/batch.h"
#include "nn/kv_cache.h"
#include "nn/linear.h"
#include "nn/model_config.h"
#include "nn/module.h"
#include "tensor/ops/rope.h"

namespace lorikeet {

class SelfAttention : public Module {
 public:
  SelfAttention(const ModelConfig& config, int64_t layer);

  Variable operator()(const Variable& x, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache);
  void Visit(Visitor& v) override;

 private:
  int64_t layer_, num_heads_, num_kv_heads_, head_dim_;
  Linear q_, k_, v_, o_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_ATTENTION_H_
