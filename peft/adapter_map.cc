#include "peft/adapter_map.h"

#include "tensor/check.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/random.h"

namespace lorikeet {

AdapterMap::AdapterMap(std::unique_ptr<LinearMap> base, LoraFactors f, const AdapterRun* run, uint64_t index)
    : base_(std::move(base)),
      a_{.name = "", .value = f.a},
      b_{.name = "", .value = f.b},
      scaling_(f.scaling),
      dropout_(f.dropout),
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
  return {dropout_, run_->key.Fold(index_)};
}

Tensor AdapterMap::BasePlusProduct() const {
  Tensor w = base_->Dense().Cast(a_.value.dtype());
  if (w.use_count() > 1) w = w.Clone();
  tensor::MatMulInto(w, b_.value, false, a_.value, false, scaling_, 1);
  return w;
}

Tensor AdapterMap::AddFactorGrads(const Tensor& g, const Tensor& x, const Tensor& u, const Tensor& b, int a_input,
                                  int b_input, GradSink& grad) const {
  Tensor du = Tensor::Empty(u.shape(), g.dtype(), g.device());
  tensor::MatMulInto(du, g, false, b, false, scaling_, 0);
  if (grad.wants(b_input)) {
    Accumulator db = grad.Accumulate(b_input);
    tensor::MatMulInto(db.buffer, g, true, u, false, scaling_, db.beta);
  }
  if (grad.wants(a_input)) {
    Accumulator da = grad.Accumulate(a_input);
    tensor::MatMulInto(da.buffer, du, true, x, false, 1, da.beta);
  }
  return du;
}

}  // namespace lorikeet
