// RunLayer: a layer of a model, under Checkpoint when memory matters more than time.
//
//   h = RunLayer(checkpointing_, h, [&layer, batch, rope, cache](const Variable& x) { return layer(x, batch, ...); });
//
// f lives until Backward: it holds what belongs to the batch by value, and the layer by reference.
#ifndef LORIKEET_NN_RUN_LAYER_H_
#define LORIKEET_NN_RUN_LAYER_H_

#include <utility>

#include "absl/types/span.h"
#include "autograd/checkpoint.h"
#include "autograd/tape.h"
#include "autograd/variable.h"

namespace lorikeet {

template <typename F>
Variable RunLayer(bool checkpointing, const Variable& h, F f) {
  if (!checkpointing || Tape::Current() == nullptr) return f(h);
  return Checkpoint([f = std::move(f)](absl::Span<const Variable> in) { return f(in[0]); }, {h});
}

}  // namespace lorikeet

#endif  // LORIKEET_NN_RUN_LAYER_H_
