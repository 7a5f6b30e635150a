#include "autograd/ops/dropout.h"

#include "autograd/tape.h"
#include "tensor/ops/random.h"

namespace lorikeet {

// y = x*mask/(1-p).   dx = dy*mask/(1-p).   Saves nothing.
Variable Dropout(const Variable& x, float p, RngKey key) {
  return Record(
      "Dropout", {x}, tensor::Dropout(x.value(), p, key), {},
      [p, key](absl::Span<Tensor>, const Tensor& dy, GradSink& grad) { grad.Add(0, tensor::Dropout(dy, p, key)); });
}

}  // namespace lorikeet
