// LayerRunner: runs a model's layers, under Checkpoint where memory matters more than time.
//
//   LayerRunner run;  run.set_checkpointing(Checkpointing::kOn);
//   h = run(h, layers, [batch, rope, cache](LlamaLayer& l, const Variable& x) { return l(x, batch, rope, cache); });
//
// kOff keeps what every op saves. kOn keeps a layer's input and runs the layer again in Backward: less memory, almost
// one more forward pass. kSelective keeps what attention computed besides, so that it is not computed again: as much
// memory once more, for what takes longest in long sequences. kOffload keeps the input in host memory
// (autograd/activation_offload.h); on the CPU it is kOn. With `layers` = n only the first n layers are checkpointed:
// what the others save is free again when Backward arrives at the first. The function is copied for each layer and
// lives until Backward: it holds what belongs to the batch by value.
#ifndef LORIKEET_NN_LAYER_RUNNER_H_
#define LORIKEET_NN_LAYER_RUNNER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "autograd/activation_offload.h"
#include "autograd/checkpoint.h"
#include "autograd/tape.h"
#include "autograd/variable.h"

namespace lorikeet {

enum class Checkpointing : uint8_t { kOff, kOn, kSelective, kOffload };

class LayerRunner {
 public:
  void set_checkpointing(Checkpointing c, int64_t layers = INT64_MAX) {
    checkpointing_ = c;
    checkpointed_layers_ = layers;
  }

  template <typename Layer, typename F>
  Variable operator()(Variable h, const std::vector<std::unique_ptr<Layer>>& layers, const F& f) {
    for (size_t i = 0; i < layers.size(); ++i) h = Run(static_cast<int64_t>(i), h, *layers[i], f);
    return h;
  }

 private:
  template <typename Layer, typename F>
  Variable Run(int64_t i, const Variable& h, Layer& layer, const F& f) {
    const bool keep = checkpointing_ == Checkpointing::kOff || i >= checkpointed_layers_;
    if (keep || Tape::Current() == nullptr) return f(layer, h);
    return Checkpoint([f, &layer](absl::Span<const Variable> in) { return f(layer, in[0]); },
                      {checkpointing_ == Checkpointing::kOffload ? offload_(h) : h},
                      /*keep=*/checkpointing_ == Checkpointing::kSelective);
  }

  Checkpointing checkpointing_ = Checkpointing::kOff;
  int64_t checkpointed_layers_ = INT64_MAX;
  ActivationOffload offload_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_LAYER_RUNNER_H_
