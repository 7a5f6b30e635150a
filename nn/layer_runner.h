// LayerRunner: runs a model's layers, under Checkpoint where memory matters more than time.
//
//   LayerRunner run;  run.set_checkpointing(Checkpointing::kOn);
//   h = run(h, [&layer, batch, rope, cache](const Variable& x) { return layer(x, batch, rope, cache); });
//
// kOff keeps what every op saves. kOn keeps a layer's input and runs the layer again in Backward: less memory, one more
// forward pass. kOffload keeps that input in host memory (autograd/activation_offload.h); on the CPU it is kOn.
// The layer's function lives until Backward: it holds what belongs to the batch by value, and the layer by reference.
#ifndef LORIKEET_NN_LAYER_RUNNER_H_
#define LORIKEET_NN_LAYER_RUNNER_H_

#include <cstdint>
#include <utility>

#include "absl/types/span.h"
#include "autograd/activation_offload.h"
#include "autograd/checkpoint.h"
#include "autograd/tape.h"
#include "autograd/variable.h"

namespace lorikeet {

enum class Checkpointing : uint8_t { kOff, kOn, kOffload };

class LayerRunner {
 public:
  void set_checkpointing(Checkpointing c) { checkpointing_ = c; }

  template <typename F>
  Variable operator()(const Variable& h, F f) {
    if (checkpointing_ == Checkpointing::kOff || Tape::Current() == nullptr) return f(h);
    return Checkpoint([f = std::move(f)](absl::Span<const Variable> in) { return f(in[0]); },
                      {checkpointing_ == Checkpointing::kOffload ? offload_(h) : h});
  }

 private:
  Checkpointing checkpointing_ = Checkpointing::kOff;
  ActivationOffload offload_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_LAYER_RUNNER_H_
