#include "nn/linear_map.h"

#include "autograd/tape.h"
#include "tensor/check.h"
#include "tensor/ops/gather.h"

namespace lorikeet {

Variable LinearMap::Apply(const Variable& x) {
  LORIKEET_CHECK(frozen()) << "LinearMap::Apply: a map with parameters must override it";
  const Shape shape = {x.shape()[0], out_features()};
  Deferred product(shape, x.dtype(), x.device(), [this, x = x.value(), shape] {
    Tensor y = Tensor::Empty(shape, x.dtype(), x.device());
    Forward(x, y, {});
    return y;
  });
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

}  // namespace lorikeet
