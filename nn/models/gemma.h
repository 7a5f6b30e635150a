// Gemma 2 and Gemma 3 (its text model): norms before and after both sublayers, GeGLU, layers that see a window between
// layers that see everything.
//
//   h = sqrt(hidden) * embed(tokens)
//   for each layer:  h = h + post_norm1(attention(norm1(h)));  h = h + post_norm2(mlp(norm2(h)))
//   logits = cap(norm(h) * W_embed^T)
//
// Gemma 2 caps attention's scores and the logits, cap(x) = c*tanh(x/c); Gemma 3 normalises every head of q and k
// instead, and rotates by shorter wavelengths in the layers with a window. Norms multiply by 1 + w. The scale of the
// embedding is rounded to the compute dtype, as in training. "Gemma 2: improving open language models at a practical
// size", 2024; "Gemma 3 technical report", 2025. Parameter names are Hugging Face's. A freshly built model has empty
// slots; LoadWeights (nn/load.h) fills them.
#ifndef LORIKEET_NN_MODELS_GEMMA_H_
#define LORIKEET_NN_MODELS_GEMMA_H_

#include <memory>
#include <vector>

#include "nn/attention.h"
#include "nn/causal_lm.h"
#include "nn/mlp.h"
#include "nn/model_config.h"
#include "nn/rms_norm.h"
#include "nn/rotary.h"

namespace lorikeet {

class GemmaLayer : public Module {
 public:
  GemmaLayer(const ModelConfig& config, int64_t index);
  Variable operator()(const Variable& h, const Batch& batch, const tensor::RopeTable& rope, KvCache* cache);
  void Visit(Visitor& v) override;
  bool windowed() const { return windowed_; }  // sees a window of keys, not all before it

 private:
  const bool windowed_;
  RmsNormLayer input_norm_, post_attention_norm_, pre_feedforward_norm_, post_feedforward_norm_;
  SelfAttention attention_;
  Mlp mlp_;
};

class Gemma : public CausalLm {
 public:
  Gemma(const ModelConfig& config, DType compute_dtype);

  Variable Hidden(const Batch& batch, KvCache* cache) override;
  void Visit(Visitor& v) override;

 private:
  double embed_scale_;
  Rotary rotary_, local_rotary_;  // the latter in layers with a window
  std::vector<std::unique_ptr<GemmaLayer>> layers_;
  RmsNormLayer norm_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_MODELS_GEMMA_H_
