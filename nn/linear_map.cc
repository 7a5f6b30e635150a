#include "nn/linear_map.h"

#include <utility>

#include "autograd/tape.h"
#include "tensor/check.h"
#include "tensor/ops/gather.h"

namespace lorikeet {

Variable LinearMap::Apply(const Variable& x) {
  LORIKEET_CHECK(frozen()) << "LinearMap::Apply: a map with parameters must override it";
  Deferred product = OutputWhenAsked(x.value(), [this](const Tensor& x, Tensor& y) { Forward(x, y, {}); });
  return Record("Linear", {x}, std::move(product), {}, [this](absl::Span<Tensor>, const Tensor& dy, GradSink& grad) {
    Accumulator dx = grad.Accumulate(0);
    InputGrad(dy, dx.buffer, {.beta = dx.beta});
  });
}

Variable LinearMap::Lookup(const Tensor& ids, DType dtype) {
  LORIKEET_CHECK(frozen()) << "LinearMap::Lookup: a map with parameters must override it";
  return Variable(Rows(ids, dtype));
}

Tensor LinearMap::Rows(const Tensor& ids, DType dtype) const { return tensor::GatherRows(Dense(), ids).Cast(dtype); }

Deferred LinearMap::OutputWhenAsked(const Tensor& x, absl::AnyInvocable<void(const Tensor& x, Tensor& y)> make) const {
  const Shape shape = {x.dim(0), out_features()};
  return Deferred(shape, x.dtype(), x.device(), [x, shape, make = std::move(make)]() mutable {
    Tensor y = Tensor::Empty(shape, x.dtype(), x.device());
    make(x, y);
    return y;
  });
}

}  // namespace lorikeet
