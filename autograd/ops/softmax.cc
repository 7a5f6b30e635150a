#include "autograd/ops/softmax.h"

#include "autograd/tape.h"
#include "tensor/ops/softmax.h"

namespace lorikeet {

// y = exp(x - max)/sum.   dx = y*(dy - sum(dy*y)).   Saves y.
Variable Softmax(const Variable& x) {
  Tensor y = tensor::Softmax(x.value());
  return Record("Softmax", {x}, y, {y}, [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
    grad.Add(0, tensor::SoftmaxGrad(dy, saved[0]));
  });
}

// y = x - logsumexp(x).   dx = dy - exp(y)*sum(dy).   Saves y.
Variable LogSoftmax(const Variable& x) {
  Tensor y = tensor::LogSoftmax(x.value());
  return Record("LogSoftmax", {x}, y, {y}, [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
    grad.Add(0, tensor::LogSoftmaxGrad(dy, saved[0]));
  });
}

}  // namespace lorikeet
