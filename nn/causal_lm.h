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

#include "autograd/variable.h"
#include "nn/batch.h"
#include "nn/kv_cache.h"
#include "nn/linear_map.h"
#include "nn/model_config.h"
#include "nn/module.h"
#include "tensor/dtype.h"
#include "tensor/ops/elementwise.h"
#include "tensor/tensor.h"

namespace lorikeet {

class CausalLm : public Module {
 public:
  virtual const ModelConfig& config() const = 0;
  virtual DType compute_dtype() const = 0;

  // Runs each layer under Checkpoint: less memory, one more forward pass.
  virtual void set_gradient_checkpointing(bool on) = 0;

  virtual Variable Hidden(const Batch& batch, KvCache* cache) = 0;

  // The output head, hidden -> vocab; the embedding's own map when they are tied.
  virtual LinearMap& head() = 0;
  virtual bool tied_head() const = 0;

  // f32 logits of rows of Hidden, capped where the configuration says so (LinearCrossEntropy is told by an option).
  Tensor Logits(const Tensor& hidden) {
    Tensor y = Tensor::Empty({hidden.dim(0), head().out_features()}, DType::kF32, hidden.device());
    head().Forward(hidden, y, {});
    const double cap = config().final_softcap;
    return cap > 0 ? tensor::Scale(tensor::Tanh(tensor::Scale(y, 1 / cap)), cap) : y;
  }
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_CAUSAL_LM_H_
