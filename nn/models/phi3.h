// Phi-3 (and Phi-4, which is the same architecture): Llama's mathematics with fused matrices, one for q, k and v and
// one for gate and up.
//
//   q, k, v = split(x * W_qkv^T);  q and k rotated in their first rotary_dim dimensions
//   mlp(x) = (silu(gate) * up) * W_down^T,  gate, up = split(x * W_gate_up^T)
//
// Abdin et al., "Phi-3 technical report", 2024. Parameter names are Hugging Face's. A freshly built model has empty
// slots; LoadWeights (nn/load.h) fills them.
#ifndef LORIKEET_NN_MODELS_PHI3_H_
#define LORIKEET_NN_MODELS_PHI3_H_

#include <memory>
#include <vector>

#include "nn/causal_attention.h"
#include "nn/causal_lm.h"
#include "nn/linear.h"
#include "nn/model_config.h"
#include "nn/rms_norm.h"
#include "nn/rotary.h"
#include "tensor/ops/rope.h"

namespace lorikeet {

class Phi3Layer : public Module {
 public:
  Phi3Layer(const ModelConfig& config, int64_t index);
  Variable operator()(const Variable& h, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache);
  void Visit(Visitor& v) override;

 private:
  Variable Attention(const Variable& x, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache);
  Variable Mlp(const Variable& x);

  int64_t heads_, kv_heads_, head_dim_, intermediate_;
  CausalAttention attend_;
  RmsNormLayer input_norm_, post_attention_norm_;
  Linear qkv_, o_, gate_up_, down_;
};

class Phi3 : public CausalLm {
 public:
  Phi3(const ModelConfig& config, DType compute_dtype);

  Variable Hidden(const Batch& batch, KvCache* cache) override;
  void Visit(Visitor& v) override;

 private:
  Rotary rotary_;  // of the first rotary_dim numbers of a head
  std::vector<std::unique_ptr<Phi3Layer>> layers_;
  RmsNormLayer norm_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_MODELS_PHI3_H_
