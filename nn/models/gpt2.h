// GPT-2: learned positions, layer normalisation with a bias before each sublayer, one matrix for q, k and v, GELU.
//
//   h = wte(tokens) + wpe(positions)
//   for each layer:  h = h + attention(norm1(h));  h = h + W_proj * gelu(W_fc * norm2(h))
//   logits = norm(h) * W_wte^T
//
// Every linear map of a layer has a bias, and its weight lies transposed in the checkpoint (transformers' Conv1D). The
// context ends where the learned positions do. Radford et al., "Language models are unsupervised multitask learners",
// 2019. Parameter names are Hugging Face's. A freshly built model has empty slots; LoadWeights (nn/load.h) fills them.
#ifndef LORIKEET_NN_MODELS_GPT2_H_
#define LORIKEET_NN_MODELS_GPT2_H_

#include <memory>
#include <vector>

#include "nn/causal_attention.h"
#include "nn/causal_lm.h"
#include "nn/embedding.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/model_config.h"

namespace lorikeet {

class Gpt2Layer : public Module {
 public:
  Gpt2Layer(const ModelConfig& config, int64_t index);
  Variable operator()(const Variable& h, const Batch& batch, KvCache* cache);
  void Visit(Visitor& v) override;

 private:
  Variable Attention(const Variable& x, const Batch& batch, KvCache* cache);

  int64_t heads_, head_dim_;
  CausalAttention attend_;
  LayerNormLayer norm1_, norm2_;
  Linear attn_, attn_proj_, fc_, fc_proj_;
};

class Gpt2 : public CausalLm {
 public:
  Gpt2(const ModelConfig& config, DType compute_dtype);

  Variable Hidden(const Batch& batch, KvCache* cache) override;
  void Visit(Visitor& v) override;

 private:
  Embedding positions_;
  std::vector<std::unique_ptr<Gpt2Layer>> layers_;
  LayerNormLayer norm_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_MODELS_GPT2_H_
