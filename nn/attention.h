// SelfAttention: grouped-query attention with rotary positions.
//
//   SelfAttention attention(config, layer_index);
//   Variable y = attention(x, batch, rope, cache);    // x [tokens, hidden] -> [tokens, hidden]
//
//   q = rope(x*Wq^T), k = rope(x*Wk^T), v = x*Wv^T;  y = CausalAttention(q, k, v) * Wo^T
//
// With config.qk_norm every head of q and k is normalised before it is rotated, by weights that the heads share.
// Ainslie et al., "GQA", 2023; Su et al., "RoFormer", 2021; Henry et al., "Query-key normalization", 2020. `rope` holds
// the batch's angles, computed once for all layers.
#ifndef LORIKEET_NN_ATTENTION_H_
#define LORIKEET_NN_ATTENTION_H_

#include <cstdint>
#include <optional>

#include "autograd/variable.h"
#include "nn/batch.h"
#include "nn/causal_attention.h"
#include "nn/kv_cache.h"
#include "nn/linear.h"
#include "nn/model_config.h"
#include "nn/module.h"
#include "nn/rms_norm.h"
#include "tensor/ops/rope.h"

namespace lorikeet {

class SelfAttention : public Module {
 public:
  SelfAttention(const ModelConfig& config, int64_t layer, NormWeight stored = NormWeight::kScale);

  Variable operator()(const Variable& x, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache);
  void Visit(Visitor& v) override;

 private:
  int64_t num_heads_, num_kv_heads_, head_dim_;
  CausalAttention attend_;
  Linear q_, k_, v_, o_;
  std::optional<RmsNormLayer> q_norm_, k_norm_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_ATTENTION_H_
