#include "nn/linear.h"

#include <utility>

#include "autograd/ops/elementwise.h"
#include "autograd/tape.h"
#include "tensor/tensor.h"

namespace lorikeet {

Linear::Linear(int64_t in_features, int64_t out_features, bool bias) : slot_{in_features, out_features} {
  if (bias) bias_ = Parameter{.name = "", .value = Tensor::Zeros({out_features}, DType::kF32), .trainable = false};
}

Linear::Linear(std::unique_ptr<LinearMap> map) : slot_{map->in_features(), map->out_features(), std::move(map)} {}

Linear Linear::Conv1D(int64_t in_features, int64_t out_features) {
  Linear linear(in_features, out_features, /*bias=*/true);
  linear.slot_.transposed = true;
  return linear;
}

Variable Linear::operator()(const Variable& x) {
  Variable y = slot_->Apply(x);
  return bias_ ? Add(y, Use(*bias_, y.dtype())) : y;
}

void Linear::Visit(Visitor& v) {
  v.Slot("", slot_);
  if (bias_) v.Leaf("bias", *bias_);
}

}  // namespace lorikeet
