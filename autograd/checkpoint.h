// Checkpoint: trade time for memory. Runs f now without recording, and once more, under a tape of its own, when
// Backward arrives; between the two only the inputs are kept. The second run makes what its records save: of a layer
// that ends with `h + down(x)` neither that product nor the sum (autograd/variable.h, Deferred).
//
//   Variable y = Checkpoint([&](absl::Span<const Variable> in) { return layer(in[0]); }, {x});
//
// With `keep`, what f computes through Kept is held between the runs and not computed again: the few values that take
// long and are small, attention's.
//
//   std::vector<Tensor> v = Kept([&] { return Costly(x.value()); });   // outside of Checkpoint: Costly(x.value())
//
// f must compute the same both times: no hidden state, dropout keys taken by value. It may read parameters (their
// gradients are summed as usual) and constants; variables that need a gradient must come in through `inputs`. A frozen
// input with trainable parameters inside still trains them. f lives until Backward.
// Source: Chen et al., "Training deep nets with sublinear memory cost", 2016. PyTorch has both additions too, as
// set_checkpoint_early_stop and as selective activation checkpointing.
#ifndef LORIKEET_AUTOGRAD_CHECKPOINT_H_
#define LORIKEET_AUTOGRAD_CHECKPOINT_H_

#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "autograd/variable.h"
#include "tensor/tensor.h"

namespace lorikeet {

Variable Checkpoint(absl::AnyInvocable<Variable(absl::Span<const Variable>)> f, std::vector<Variable> inputs,
                    bool keep = false);

std::vector<Tensor> Kept(absl::FunctionRef<std::vector<Tensor>()> make);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_CHECKPOINT_H_
