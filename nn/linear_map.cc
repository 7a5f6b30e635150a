#include "nn/linear_map.h"

#include "autograd/tape.h"
#include "tensor/check.h"
#include "tensor/ops/gather.h"

namespace lorikeet {

Variable LinearMap::Apply(const Variable& x) {
  LORIKEET_CHECK(frozen()) << "LinearMap::Apply: a map with parameters must override it";
  Tensor y = Tensor::Empty({x.value().dim(0), out_features()}, x.dtype(), x.value().device());
  Forward(x.value(), y, {});
  return Record("Linear", {x}, y, {}, [this](absl::Span<Tensor>, const Tensor& dy, GradSink& grad) {
    Accumulator dx = grad.Accumulate(0);
    InputGrad(dy, dx.buffer, {.beta = dx.beta});
  });
}

Variable LinearMap::Lookup(const Tensor& ids, DType dtype) {
  LORIKEET_CHECK(frozen()) << "LinearMap::Lookup: a map with parameters must override it";
  return Variable(Rows(ids, dtype));
}

Tensor LinearMap::Rows(const Tensor& ids, DType dtype) const { return tensor::GatherRows(Dense(), ids).Cast(dtype); }

}  // namespace lorikeet
