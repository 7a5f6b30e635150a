#include "autograd/ops/activation.h"

#include "autograd/tape.h"
#include "tensor/ops/activation.h"

namespace lorikeet {

// y = silu(g)*u.   dg = dy*u*(s + g*s*(1-s)), du = dy*silu(g), s = sigmoid(g) computed anew.   Saves g, u.
Variable SwiGlu(const Variable& gate, const Variable& up) {
  return Record("SwiGlu", {gate, up}, tensor::SwiGlu(gate.value(), up.value()), {gate.value(), up.value()},
                [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  auto [dgate, dup] = tensor::SwiGluGrad(dy, saved[0], saved[1]);
                  grad.Add(0, dgate);
                  grad.Add(1, dup);
                });
}

// y = gelu(g)*u.   dg = dy*u*gelu'(g), du = dy*gelu(g), both computed anew.   Saves g, u.
Variable GeGlu(const Variable& gate, const Variable& up) {
  return Record("GeGlu", {gate, up}, tensor::GeGlu(gate.value(), up.value()), {gate.value(), up.value()},
                [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  auto [dgate, dup] = tensor::GeGluGrad(dy, saved[0], saved[1]);
                  grad.Add(0, dgate);
                  grad.Add(1, dup);
                });
}

// y = gelu(x).   dx = dy*gelu'(x).   Saves x.
Variable Gelu(const Variable& x) {
  return Record(
      "Gelu", {x}, tensor::Gelu(x.value()), {x.value()},
      [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) { grad.Add(0, tensor::GeluGrad(dy, saved[0])); });
}

}  // namespace lorikeet
