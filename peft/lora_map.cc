#include "peft/lora_map.h"

#include "autograd/tape.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

namespace lorikeet {

void LoraMap::Forward(const Tensor& x, Tensor& y, float beta) const {
  base_->Forward(x, y, beta);
  const Tensor u = tensor::MatMul(x, a_.value.Cast(x.dtype()), false, true);
  tensor::MatMulInto(y, u, false, b_.value.Cast(x.dtype()), true, scaling_, 1);
}

void LoraMap::InputGrad(const Tensor& dy, Tensor& dx, float beta) const {
  base_->InputGrad(dy, dx, beta);
  const Tensor du = tensor::MatMul(dy, b_.value.Cast(dy.dtype()));
  tensor::MatMulInto(dx, du, false, a_.value.Cast(dy.dtype()), false, scaling_, 1);
}

Variable LoraMap::Apply(const Variable& x) {
  const Mask mask = CurrentMask();
  const Variable a = Use(a_, x.dtype()), b = Use(b_, x.dtype());
  Tensor y = Tensor::Empty({x.value().dim(0), out_features()}, x.dtype(), x.value().device());
  base_->Forward(x.value(), y, 0);
  const Tensor u = tensor::MatMul(mask(x.value()), a.value(), false, true);
  tensor::MatMulInto(y, u, false, b.value(), true, scaling_, 1);
  return Record("Lora", {x, a, b}, y, {x.value(), a.value(), b.value(), u},
                [this, mask](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  const Tensor &x = saved[0], &a = saved[1], &b = saved[2], &u = saved[3];
                  const Tensor du = AddFactorGrads(dy, mask(x), u, b, 1, 2, grad);
                  if (!grad.wants(0)) return;
                  Accumulator dx = grad.Accumulate(0);
                  base_->InputGrad(dy, dx.buffer, dx.beta);
                  if (mask.p > 0) {
                    tensor::AddInPlace(dx.buffer, mask(tensor::MatMul(du, a)));
                  } else {
                    tensor::MatMulInto(dx.buffer, du, false, a, false, 1, 1);
                  }
                });
}

void LoraMap::Visit(Visitor& v) {
  base_->Visit(v);
  v.Leaf("lora_A.weight", a_);
  v.Leaf("lora_B.weight", b_);
}

}  // namespace lorikeet
