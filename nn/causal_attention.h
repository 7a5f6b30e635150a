// CausalAttention: what every architecture does with q, k and v, past and present.
//
//   CausalAttention attend(config, layer_index);
//   Variable y = attend(q, k, v, batch, cache);       // q [tokens, heads, d], k and v [tokens, kv_heads, d]
//                                                     // -> [tokens, heads * d]
//   y = softmax(cap(q*k^T/sqrt(s)), causal)*v
//
// The configuration says how many keys a query of this layer may look back to, what s is (d, as a rule) and whether
// scores are capped. With a cache (one sequence, nothing
// recorded) the new rows attend to all that it holds.
#ifndef LORIKEET_NN_CAUSAL_ATTENTION_H_
#define LORIKEET_NN_CAUSAL_ATTENTION_H_

#include <cstdint>

#include "autograd/variable.h"
#include "nn/batch.h"
#include "nn/kv_cache.h"
#include "nn/model_config.h"

namespace lorikeet {

class CausalAttention {
 public:
  CausalAttention(const ModelConfig& config, int64_t layer);

  Variable operator()(const Variable& q, Variable k, Variable v, const Batch& batch, KvCache* cache) const;

 private:
  int64_t layer_, window_;
  float scale_, softcap_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_CAUSAL_ATTENTION_H_
