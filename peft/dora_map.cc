#include "peft/dora_map.h"

#include <utility>

#include "autograd/tape.h"
#include "tensor/check.h"
#include "tensor/ops/column_scale.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {

DoraMap::DoraMap(std::unique_ptr<LinearMap> base, LoraFactors f, absl::optional<Tensor> magnitude,
                 const AdapterRun* run, uint64_t index)
    : AdapterMap(std::move(base), std::move(f), run, index) {
  const Tensor w = base_->Dense();
  squared_norm_ = tensor::RowDot(w, w).Cast(a_.value.dtype());
  magnitude_.value = magnitude ? *magnitude : Norm();
  LORIKEET_CHECK(magnitude_.value.shape() == (Shape{out_features()}) && magnitude_.value.dtype() == a_.value.dtype())
      << "DoraMap: magnitude is " << Describe(magnitude_.value) << ", A is " << Describe(a_.value);
}

// In bf16 A is taken as the sum of two bf16 matrices, its digits and what they leave: 16 bits of it, and the base is
// used as it is fastest.
Tensor DoraMap::FactorThroughBase(DType compute) const {
  const Tensor& a = a_.value;
  Tensor aw = Tensor::Empty({rank(), out_features()}, a.dtype(), a.device());
  if (compute != DType::kBF16 || a.dtype() != DType::kF32) {
    base_->Forward(a, aw, {});
    return aw;
  }
  Tensor digits = Tensor::Empty({2 * rank(), in_features()}, compute, a.device());
  Tensor high = digits.Slice(0, 0, rank()), low = digits.Slice(0, rank(), 2 * rank());
  tensor::CopyInto(a, high);
  tensor::CopyInto(tensor::Sub(a, high.Cast(a.dtype())), low);
  Tensor both = Tensor::Empty({2 * rank(), out_features()}, a.dtype(), a.device());
  base_->Forward(digits, both, {});
  return tensor::Add(both.Slice(0, 0, rank()), both.Slice(0, rank(), 2 * rank()));
}

Tensor DoraMap::Norm(DType compute) const {
  const Tensor &a = a_.value, &b = b_.value;
  const Tensor k = Product(a, a.Transpose(0, 1), scaling_);                               // s*A*A^T  [r, r]
  Tensor cross = Product(b, k, scaling_);                                                 // s^2*B*(A*A^T)  [out, r]
  tensor::AddInPlace(cross, FactorThroughBase(compute).Transpose(0, 1), 2.0 * scaling_);  // + 2s*W*A^T
  const Tensor squared = tensor::Add(squared_norm_, tensor::RowDot(cross, b));
  return tensor::Sqrt(tensor::Maximum(squared, 0));  // cancellation may leave it a hair below zero
}

DoraMap::Scale DoraMap::CurrentScale(DType compute) const {
  const uint64_t version = run_ == nullptr ? 0 : run_->weights_version;
  if (version == 0) return ScaleOf(Norm(compute));
  const std::lock_guard<std::mutex> lock(mutex_);
  if (kept_version_ != version || kept_compute_ != compute) {
    kept_ = ScaleOf(Norm(compute));
    kept_version_ = version;
    kept_compute_ = compute;
  }
  return kept_;
}

DoraMap::Scale DoraMap::ScaleOf(const Tensor& norm) const {
  const auto is_zero = [](const Tensor& x) { return tensor::Equal(x, Tensor::Zeros({}, x.dtype(), x.device())); };
  const Tensor zero = is_zero(norm);  // 1 where n is 0
  // With n and m replaced by 1 there, g = m/n is 1 there.
  const Tensor one = tensor::Mul(zero, tensor::AddScalar(tensor::Neg(magnitude_.value), 1));
  const Tensor n = tensor::Add(norm, zero);
  const Tensor gain = tensor::Div(tensor::Add(magnitude_.value, one), n);
  const Tensor nonzero = tensor::Add(gain, tensor::Scale(is_zero(gain), 0x1p-60));
  return {n, gain, nonzero, tensor::Mul(nonzero, n)};
}

void DoraMap::Forward(const Tensor& x, Tensor& y, const Epilogue& e) const {
  if (e.u.defined() || e.gain.defined()) return FinishInto(y, e, [&](Tensor& z) { Forward(x, z, {}); });
  const Tensor a = a_.As(x.dtype()), b = b_.As(x.dtype());
  Epilogue scaled = With(e, Product(x, a.Transpose(0, 1), scaling_), b.Transpose(0, 1));
  scaled.gain = CurrentScale(x.dtype()).gain;
  base_->Forward(x, y, scaled);
}

void DoraMap::InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const {
  if (e.u.defined()) return FinishInto(dx, e, [&](Tensor& z) { InputGrad(dy, z, {}); });
  const Tensor dz = tensor::ColumnScale(dy, CurrentScale(dy.dtype()).gain, dy.dtype());
  base_->InputGrad(dz, dx, With(e, Product(dz, b_.As(dy.dtype()), scaling_), a_.As(dy.dtype())));
}

// x*W^T + u*B^T in y's dtype or another, scaled by the gain or not.
Tensor DoraMap::Output(const Tensor& x, const Tensor& u, const Tensor& b, DType dtype, const Tensor& gain) const {
  Tensor y = Tensor::Empty({x.dim(0), out_features()}, dtype, x.device());
  base_->Forward(x, y, {.u = u, .v = b.Transpose(0, 1), .gain = gain});
  return y;
}

Variable DoraMap::Apply(const Variable& x) {
  const Mask mask = CurrentMask();
  if (mask.p > 0) return ApplyWithDropout(x, mask);
  const Variable a = Use(a_, x.dtype()), b = Use(b_, x.dtype()), m = Use(magnitude_);
  const Scale scale = CurrentScale(x.dtype());
  const Tensor u = Product(x.value(), a.value().Transpose(0, 1), scaling_);
  // dm = sum dy*z / n = sum dy*y / (g*n), so y serves, which the next layer often keeps anyway.
  const bool keeps_z = x.dtype() == DType::kF16;
  Tensor y, kept;
  if (keeps_z) {
    const Tensor z = Output(x.value(), u, b.value(), a_.value.dtype(), Tensor());
    y = tensor::ColumnScale(z, scale.gain, x.dtype());
    kept = z.Cast(x.dtype());
  } else {
    kept = y = Output(x.value(), u, b.value(), x.dtype(), scale.nonzero);
  }
  const Tensor& gain = keeps_z ? scale.gain : scale.nonzero;
  const Tensor& divisor = keeps_z ? scale.norm : scale.divisor;
  return Record("Dora", {x, a, b, m}, y, {x, a.value(), b.value(), u, kept, gain, divisor},
                [this](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  const Tensor &x = saved[0], &a = saved[1], &b = saved[2], &u = saved[3];
                  const auto [dz, dot] = tensor::ColumnScaleGrad(dy, saved[4], saved[5], grad.wants(3));
                  if (grad.wants(3)) grad.Add(3, tensor::Div(dot, saved[6]));
                  const Tensor du = AddFactorGrads(dz, x, u, b, 1, 2, grad);
                  if (!grad.wants(0)) return;
                  Accumulator dx = grad.Accumulate(0);
                  base_->InputGrad(dz, dx.buffer, {.beta = dx.beta, .u = du, .v = a});
                });
}

// y = W*x + (g-1)*z' + u'*B^T (the header's formula, the last term split), so that g*dy reaches the factors as
// without dropout, while dx = dy*W + mask((g-1)*dy*W + s*g*dy*B*A).
Variable DoraMap::ApplyWithDropout(const Variable& x, const Mask& mask) {
  const Variable a = Use(a_, x.dtype()), b = Use(b_, x.dtype()), m = Use(magnitude_);
  const Scale scale = CurrentScale(x.dtype());
  const Tensor dropped = mask(x.value());
  const Tensor u = Product(dropped, a.value().Transpose(0, 1), scaling_);
  const Tensor z = Output(dropped, u, b.value(), a_.value.dtype(), Tensor());
  Tensor y = tensor::Mul(z, tensor::AddScalar(scale.gain, -1));
  base_->Forward(x.value(), y, {.beta = 1, .u = u, .v = b.value().Transpose(0, 1)});
  return Record("Dora", {x, a, b, m}, y.Cast(x.dtype()),
                {x, a.value(), b.value(), u, z.Cast(x.dtype()), scale.gain, scale.norm},
                [this, mask](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  const Tensor &x = saved[0], &a = saved[1], &b = saved[2], &u = saved[3], &gain = saved[5];
                  const auto [dz, dot] = tensor::ColumnScaleGrad(dy, saved[4], gain, grad.wants(3));
                  if (grad.wants(3)) grad.Add(3, tensor::Div(dot, saved[6]));
                  const Tensor du = AddFactorGrads(dz, mask(x), u, b, 1, 2, grad);
                  if (!grad.wants(0)) return;
                  Accumulator dx = grad.Accumulate(0);
                  base_->InputGrad(dy, dx.buffer, {.beta = dx.beta});
                  Tensor dropped = Tensor::Empty(x.shape(), x.dtype(), x.device());
                  const Tensor rest = tensor::ColumnScale(dy, tensor::AddScalar(gain, -1), dy.dtype());
                  base_->InputGrad(rest, dropped, {.u = du, .v = a});
                  tensor::AddInPlace(dx.buffer, mask(dropped));
                });
}

Tensor DoraMap::Merged() const {
  Tensor w = PlusProduct(base_->Dense());
  tensor::MulInPlace(w, CurrentScale(a_.value.dtype()).gain.Reshape({out_features(), 1}));
  return w;
}

Tensor DoraMap::MergedOver(Tensor other) const {
  Tensor w = PlusProduct(LessTaken(std::move(other)));
  const Tensor gain = ScaleOf(tensor::Sqrt(tensor::RowDot(w, w))).gain;
  tensor::MulInPlace(w, gain.Reshape({out_features(), 1}));
  return w;
}

void DoraMap::Visit(Visitor& v) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    kept_version_ = 0;  // the visitor may change what the norm depends on
  }
  base_->Visit(v);
  v.Leaf("lora_A.weight", a_);
  v.Leaf("lora_B.weight", b_);
  v.Leaf("lora_magnitude_vector", magnitude_);
}

}  // namespace lorikeet
