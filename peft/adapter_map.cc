#include "peft/adapter_map.h"

#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/random.h"

namespace lorikeet {

AdapterMap::AdapterMap(std::unique_ptr<LinearMap> base, LoraFactors f, const AdapterRun* run, uint64_t index)
    : base_(std::move(base)),
      a_{.name = "", .value = f.a},
      b_{.name = "", .value = f.b},
      taken_a_(f.taken_a),
      taken_b_(f.taken_b),
      scaling_(f.scaling),
      dropout_(f.dropout),
      saves_base_(f.saves_base),
      run_(run),
      index_(index) {
  LORIKEET_CHECK(base_->frozen()) << "AdapterMap: the base must be frozen";
  LORIKEET_CHECK(f.a.rank() == 2 && f.b.rank() == 2 && f.a.dim(1) == in_features() && f.b.dim(0) == out_features() &&
                 f.a.dim(0) == f.b.dim(1) && f.a.dtype() == f.b.dtype())
      << "AdapterMap: A is " << Describe(f.a) << " and B " << Describe(f.b) << ", expected [r," << in_features()
      << "] and [" << out_features() << ",r]";
  LORIKEET_CHECK(f.dropout >= 0 && f.dropout < 1) << "AdapterMap: dropout is " << f.dropout << ", expected [0, 1)";
}

Tensor AdapterMap::Mask::operator()(const Tensor& x) const { return p > 0 ? tensor::Dropout(x, p, key) : x; }

AdapterMap::Mask AdapterMap::CurrentMask() const {
  if (run_ == nullptr || !run_->training || dropout_ == 0) return {};
  if (run_->key_in_memory != nullptr) return {dropout_, KeySource(run_->key_in_memory, index_)};
  return {dropout_, run_->key.Fold(index_)};
}

Tensor AdapterMap::LessTaken(Tensor w) const {
  if (!taken_a_.defined()) return w;
  w = w.Cast(taken_a_.dtype());
  if (w.use_count() > 1) w = w.Clone();
  tensor::MatMulInto(w, taken_b_, false, taken_a_, false, -scaling_, 1);
  return w;
}

Tensor AdapterMap::PlusProduct(Tensor w) const {
  w = w.Cast(a_.value.dtype());
  if (w.use_count() > 1) w = w.Clone();
  tensor::MatMulInto(w, b_.value, false, a_.value, false, scaling_, 1);
  return w;
}

Tensor AdapterMap::Product(const Tensor& a, const Tensor& b, float alpha) {
  Tensor y = Tensor::Empty({a.dim(0), b.dim(1)}, a.dtype(), a.device());
  tensor::MatMulInto(y, a, false, b, false, alpha, 0);
  return y;
}

AdapterMap::Epilogue AdapterMap::With(Epilogue e, const Tensor& u, const Tensor& v) {
  e.u = u;
  e.v = v;
  return e;
}

void AdapterMap::FinishInto(Tensor& y, const Epilogue& e, absl::FunctionRef<void(Tensor&)> fill) {
  Tensor z = Tensor::Empty(y.shape(), y.dtype() == DType::kF64 ? DType::kF64 : DType::kF32, y.device());
  fill(z);
  if (e.u.defined()) tensor::MatMulInto(z, e.u, false, e.v, false, 1, 1);
  if (e.gain.defined()) tensor::MulInPlace(z, e.gain);
  if (e.alpha != 1) tensor::ScaleInPlace(z, e.alpha);
  if (e.beta != 0) tensor::AddInPlace(z, y, e.beta);
  tensor::CopyInto(z, y);
}

Tensor AdapterMap::AddFactorGrads(const Tensor& g, const Tensor& x, const Tensor& u, const Tensor& b, int a_input,
                                  int b_input, GradSink& grad) const {
  const Tensor du = Product(g, b, scaling_);
  if (grad.wants(b_input)) {
    Accumulator db = grad.Accumulate(b_input);
    tensor::MatMulInto(db.buffer, g, true, u, false, 1, db.beta);
  }
  if (grad.wants(a_input)) {
    Accumulator da = grad.Accumulate(a_input);
    tensor::MatMulInto(da.buffer, du, true, x, false, 1, da.beta);
  }
  return du;
}

}  // namespace lorikeet
