// CausalLm: what every language model here offers. Models are in nn/models, one file an architecture.
//
//   Variable h = model.Hidden(batch, nullptr);        // [tokens, hidden], after the last norm
//   Tensor logits = model.Logits(h.value());          // [tokens, vocab] f32
//
// Training turns `Hidden` into a loss with LinearCrossEntropy (nn/linear_cross_entropy.h), which never forms the logits
// whole. Activations are in compute_dtype(). Ownership: the model owns its weights; a tape that recorded a pass refers
// to them. Threads: one pass at a time.
#ifndef LORIKEET_NN_CAUSAL_LM_H_
#define LORIKEET_NN_CAUSAL_LM_H_

#include <cstdint>
#include <optional>

#include "autograd/variable.h"
#include "nn/batch.h"
#include "nn/embedding.h"
#include "nn/kv_cache.h"
#include "nn/layer_runner.h"
#include "nn/linear.h"
#include "nn/linear_map.h"
#include "nn/model_config.h"
#include "nn/module.h"
#include "tensor/dtype.h"
#include "tensor/ops/elementwise.h"
#include "tensor/tensor.h"

namespace lorikeet {

class CausalLm : public Module {
 public:
  const ModelConfig& config() const { return config_; }
  DType compute_dtype() const { return compute_dtype_; }
  Device device() { return head().device(); }  // of the weights, and so of batches and activations

  // What is kept of a layer for Backward (nn/layer_runner.h).
  void set_gradient_checkpointing(Checkpointing c, int64_t layers = INT64_MAX) {
    run_layers_.set_checkpointing(c, layers);
  }

  virtual Variable Hidden(const Batch& batch, KvCache* cache) = 0;

  // The output head, hidden -> vocab; the embedding's own map when they are tied.
  LinearMap& head() { return head_ ? head_->map() : embed_.map(); }
  bool tied_head() const { return !head_.has_value(); }

  // f32 logits of rows of Hidden, capped where the configuration says so (LinearCrossEntropy is told by an option).
  Tensor Logits(const Tensor& hidden) {
    Tensor y = Tensor::Empty({hidden.dim(0), head().out_features()}, DType::kF32, hidden.device());
    head().Forward(hidden, y, {});
    const double cap = config().final_softcap;
    return cap > 0 ? tensor::Scale(tensor::Tanh(tensor::Scale(y, 1 / cap)), cap) : y;
  }

 protected:
  // An empty embedding, and an empty head unless the configuration ties it.
  CausalLm(const ModelConfig& config, DType compute_dtype)
      : config_(config), compute_dtype_(compute_dtype), embed_(config.vocab_size, config.hidden_size) {
    if (!config.tie_word_embeddings) head_.emplace(config.hidden_size, config.vocab_size, /*bias=*/false);
  }
  // The head comes last in a checkpoint, after the body that the architecture names.
  void VisitHead(Visitor& v) {
    if (head_) v.Child("lm_head", *head_);
  }
  LayerRunner& run_layers() { return run_layers_; }
  Embedding& embed() { return embed_; }

 private:
  const ModelConfig config_;
  const DType compute_dtype_;
  LayerRunner run_layers_;
  Embedding embed_;
  std::optional<Linear> head_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_CAUSAL_LM_H_
