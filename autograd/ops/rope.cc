#include "autograd/ops/rope.h"

#include "autograd/tape.h"

namespace lorikeet {

// y = x rotated by the table's angles.   dx = dy rotated back.   Saves the table, which all layers share.
Variable Rope(const Variable& x, const tensor::RopeTable& table) {
  return Record("Rope", {x}, tensor::Rope(x.value(), table), {table.cos, table.sin},
                [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  grad.Add(0, tensor::RopeGrad(dy, {saved[0], saved[1]}));
                });
}

}  // namespace lorikeet
