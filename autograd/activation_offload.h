// ActivationOffload: saved activations that wait for Backward in pinned host memory.
//
//   ActivationOffload offload;
//   for (Layer& layer : layers) h = Checkpoint(layer, {offload(h)});    // h leaves while the layer computes
//
// Where a record saves the variable, it saves the way to bring its value back (autograd/saved_value.h). Copies run on
// two streams of their own: a value leaves while what comes after it computes, and is fetched while the gradient of
// what comes after it computes, one value ahead, since Backward asks for them newest first. The device then holds two
// or three of them instead of all; the newest is not fetched at all if it is still there. A value is worth it if what
// is computed in between takes longer than its copy: a layer's input does, for long sequences. Values on the CPU, and
// all values when nothing records, stay as they are. The pinned buffers are kept for the next step.
// Ownership: a variable may outlive the ActivationOffload. Threads: those of the tape. Errors: out of pinned memory
// ends the process, as out of memory does.
// Source: Rajbhandari et al., "ZeRO-Infinity", 2021, section 5.1.2 (activation checkpoints in CPU memory).
#ifndef LORIKEET_AUTOGRAD_ACTIVATION_OFFLOAD_H_
#define LORIKEET_AUTOGRAD_ACTIVATION_OFFLOAD_H_

#include <memory>

#include "autograd/variable.h"

namespace lorikeet {

class ActivationOffload {
 public:
  Variable operator()(Variable v);

 private:
  struct State;
  struct Value;
  std::shared_ptr<State> state_;  // made with the first value
};

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_ACTIVATION_OFFLOAD_H_
