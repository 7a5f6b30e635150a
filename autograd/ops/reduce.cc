#include "autograd/ops/reduce.h"

#include "autograd/ops/elementwise.h"
#include "autograd/ops/shape.h"
#include "autograd/tape.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {

// y = sum of x over `dims`, which stay with size 1.   dx = dy repeated.   Saves nothing.
Variable Sum(const Variable& x, std::initializer_list<int> dims) {
  return Record("Sum", {x}, tensor::Sum(x.value(), dims, /*keepdim=*/true), {},
                [sx = x.shape()](absl::Span<Tensor>, const Tensor& dy, GradSink& grad) { grad.Add(0, dy.Expand(sx)); });
}

// y = sum / count.   dx = dy / count, repeated.
Variable Mean(const Variable& x, std::initializer_list<int> dims) {
  const Variable sum = Sum(x, dims);
  return Scale(sum, static_cast<double>(sum.shape().size()) / static_cast<double>(x.shape().size()));
}

Variable Sum(const Variable& x) { return Reshape(Sum(Reshape(x, {x.shape().size()}), {0}), {}); }

Variable Mean(const Variable& x) { return Scale(Sum(x), 1.0 / static_cast<double>(x.shape().size())); }

}  // namespace lorikeet
