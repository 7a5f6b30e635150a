#include "peft/lora_map.h"

#include "autograd/tape.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

namespace lorikeet {

void LoraMap::Forward(const Tensor& x, Tensor& y, const Epilogue& e) const {
  if (e.u.defined()) return FinishInto(y, e, [&](Tensor& z) { Forward(x, z, {}); });
  const Tensor a = a_.As(x.dtype()), b = b_.As(x.dtype());
  base_->Forward(x, y, With(e, Product(x, a.Transpose(0, 1), scaling_), b.Transpose(0, 1)));
}

void LoraMap::InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const {
  if (e.u.defined()) return FinishInto(dx, e, [&](Tensor& z) { InputGrad(dy, z, {}); });
  base_->InputGrad(dy, dx, With(e, Product(dy, b_.As(dy.dtype()), scaling_), a_.As(dy.dtype())));
}

Variable LoraMap::Apply(const Variable& x) {
  const Mask mask = CurrentMask();
  const Variable a = Use(a_, x.dtype()), b = Use(b_, x.dtype());
  const Tensor u = Product(mask(x.value()), a.value().Transpose(0, 1), scaling_);
  Deferred product = OutputWhenAsked(x.value(), [this, u, b = b.value()](const Tensor& x, Tensor& y) {
    base_->Forward(x, y, {.u = u, .v = b.Transpose(0, 1)});
  });
  return Record("Lora", {x, a, b}, std::move(product), {x, a.value(), b.value(), u},
                [this, mask](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  const Tensor &x = saved[0], &a = saved[1], &b = saved[2], &u = saved[3];
                  const Tensor du = AddFactorGrads(dy, mask(x), u, b, 1, 2, grad);
                  if (!grad.wants(0)) return;
                  Accumulator dx = grad.Accumulate(0);
                  if (mask.p == 0) return base_->InputGrad(dy, dx.buffer, {.beta = dx.beta, .u = du, .v = a});
                  base_->InputGrad(dy, dx.buffer, {.beta = dx.beta});
                  tensor::AddInPlace(dx.buffer, mask(tensor::MatMul(du, a)));
                });
}

void LoraMap::Visit(Visitor& v) {
  base_->Visit(v);
  v.Leaf("lora_A.weight", a_);
  v.Leaf("lora_B.weight", b_);
}

}  // namespace lorikeet
