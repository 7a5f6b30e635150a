#include "autograd/parameter_casts.h"

#include "tensor/ops/copy.h"
#include "tensor/tensor.h"

namespace lorikeet {

ParameterCasts::ParameterCasts(absl::Span<Parameter* const> parameters, DType dtype) {
  std::vector<Tensor> values;
  for (Parameter* p : parameters) {
    if (p->cast.defined() || p->value.dtype() == dtype || p->value.size() >= kMaxElements) continue;
    parameters_.push_back(p);
    values.push_back(p->value);
  }
  const std::vector<Tensor> casts = tensor::CastAll(values, dtype);
  for (size_t i = 0; i < casts.size(); ++i) parameters_[i]->cast = casts[i];
}

ParameterCasts::~ParameterCasts() {
  for (Parameter* p : parameters_) p->cast = Tensor();
}

}  // namespace lorikeet
