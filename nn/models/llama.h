// Llama and its family: RMSNorm, rotary positions, grouped-query attention, SwiGLU. Switches of the configuration make
// of it Mistral (a window of keys), Qwen2 (a bias on q, k and v) and Qwen3 (every head of q and k normalised).
//
//   h = embed(tokens)
//   for each layer:  h = h + attention(norm1(h));  h = h + mlp(norm2(h))
//   logits = norm(h) * W_head^T                       W_head is the embedding itself when tied
//
// Touvron et al., "LLaMA", 2023; Jiang et al., "Mistral 7B", 2023; "Qwen2 technical report", 2024; "Qwen3 technical
// report", 2025. Parameter names are Hugging Face's. A freshly built model has empty slots; LoadWeights (nn/load.h)
// fills them.
#ifndef LORIKEET_NN_MODELS_LLAMA_H_
#define LORIKEET_NN_MODELS_LLAMA_H_

#include <memory>
#include <vector>

#include "nn/attention.h"
#include "nn/causal_lm.h"
#include "nn/mlp.h"
#include "nn/model_config.h"
#include "nn/rms_norm.h"
#include "nn/rotary.h"

namespace lorikeet {

class LlamaLayer : public Module {
 public:
  LlamaLayer(const ModelConfig& config, int64_t index);
  Variable operator()(const Variable& h, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache);
  void Visit(Visitor& v) override;

 private:
  RmsNormLayer input_norm_, post_attention_norm_;
  SelfAttention attention_;
  Mlp mlp_;
};

class Llama : public CausalLm {
 public:
  Llama(const ModelConfig& config, DType compute_dtype);

  Variable Hidden(const Batch& batch, KvCache* cache) override;
  void Visit(Visitor& v) override;

 private:
  Rotary rotary_;
  std::vector<std::unique_ptr<LlamaLayer>> layers_;
  RmsNormLayer norm_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_MODELS_LLAMA_H_
