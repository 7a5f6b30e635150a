#include "peft/trainable_tokens_map.h"

#include <utility>

#include "autograd/tape.h"
#include "tensor/check.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/gather.h"
#include "tensor/ops/matmul.h"
#include "tensor/shape.h"

namespace lorikeet {
namespace {

// e with u*v, behind a correction that it may have already.
LinearMap::Epilogue With(LinearMap::Epilogue e, const Tensor& u, const Tensor& v) {
  e.u = e.u.defined() ? tensor::Concat({e.u, u}, 1) : u;
  e.v = e.v.defined() ? tensor::Concat({e.v, v}, 0) : v;
  return e;
}

Tensor Product(const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::Empty({a.dim(0), b.dim(1)}, a.dtype(), a.device());
  tensor::MatMulInto(y, a, false, b, false, 1, 0);
  return y;
}

Tensor OneHot(const Tensor& tokens, int64_t out, DType dtype) {
  const size_t n = static_cast<size_t>(tokens.size());
  std::vector<float> ones(n * n);
  for (size_t i = 0; i < n; ++i) ones[i * n + i] = 1;
  Tensor places = Tensor::Zeros({out, tokens.size()}, dtype);
  tensor::ScatterRows(Tensor::From<float>(ones, {tokens.size(), tokens.size()}).Cast(dtype), tokens, places);
  return places;
}

}  // namespace

TrainableTokensMap::TrainableTokensMap(std::unique_ptr<LinearMap> base, const std::vector<int64_t>& tokens,
                                       std::string name, Tensor rows)
    : base_(std::move(base)) {
  LORIKEET_CHECK(base_->frozen()) << "TrainableTokensMap: the base trains itself";
  const std::vector<int32_t> ids(tokens.begin(), tokens.end());
  const Tensor here = Tensor::From<int32_t>(ids, {static_cast<int64_t>(ids.size())});
  places_ = OneHot(here, base_->out_features(), base_->dtype()).To(base_->device());
  tokens_ = here.To(base_->device());
  const DType dtype = base_->dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  original_ = base_->Rows(tokens_, dtype);
  rows_ = {.name = std::move(name),
           .value = rows.defined() ? rows.Cast(dtype).To(base_->device()) : original_.Clone(),
           .trainable = true};
  LORIKEET_CHECK(rows_.value.shape() == original_.shape())
      << "TrainableTokensMap: rows is " << Describe(rows_.value) << ", expected " << ToString(original_.shape());
}

Tensor TrainableTokensMap::Difference(DType dtype) const { return tensor::Sub(rows_.value, original_).Cast(dtype); }

void TrainableTokensMap::Forward(const Tensor& x, Tensor& y, const Epilogue& e) const {
  const Tensor u = Product(x, Difference(x.dtype()).Transpose(0, 1));
  base_->Forward(x, y, With(e, u, Places(x.dtype()).Transpose(0, 1)));
}

void TrainableTokensMap::InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const {
  base_->InputGrad(dy, dx, With(e, Product(dy, Places(dy.dtype())), Difference(dy.dtype())));
}

Variable TrainableTokensMap::Apply(const Variable& x) {
  const Variable rows = Use(rows_);
  const Tensor d = Difference(x.dtype()), s = Places(x.dtype());
  const Tensor u = Product(x.value(), d.Transpose(0, 1));
  Deferred product = OutputWhenAsked(
      x.value(), [this, u, s](const Tensor& x, Tensor& y) { base_->Forward(x, y, {.u = u, .v = s.Transpose(0, 1)}); });
  return Record("TrainableTokens", {x, rows}, std::move(product), {x, d, s},
                [this](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  const Tensor &x = saved[0], &d = saved[1], &s = saved[2];
                  const Tensor du = Product(dy, s);
                  if (grad.wants(1)) {
                    Accumulator drows = grad.Accumulate(1);
                    tensor::MatMulInto(drows.buffer, du, true, x, false, 1, drows.beta);
                  }
                  if (!grad.wants(0)) return;
                  Accumulator dx = grad.Accumulate(0);
                  base_->InputGrad(dy, dx.buffer, {.beta = dx.beta, .u = du, .v = d});
                });
}

// Summed in R's dtype and rounded once.
Tensor TrainableTokensMap::Rows(const Tensor& ids, DType dtype) const {
  const DType wide = rows_.value.dtype();
  Tensor y = base_->Rows(ids, wide);
  tensor::MatMulInto(y, tensor::GatherRows(places_, ids).Cast(wide), false, Difference(wide), false, 1, 1);
  return y.Cast(dtype);
}

Variable TrainableTokensMap::Lookup(const Tensor& ids, DType dtype) {
  const Variable rows = Use(rows_);
  return Record("TrainableTokensLookup", {rows}, Rows(ids, dtype), {ids},
                [this](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  Accumulator drows = grad.Accumulate(0);
                  const Tensor picked = tensor::GatherRows(places_, saved[0]).Cast(dy.dtype());
                  tensor::MatMulInto(drows.buffer, picked, true, dy, false, 1, drows.beta);
                });
}

Tensor TrainableTokensMap::Merged() const {
  Tensor w = base_->Dense().Clone().Cast(rows_.value.dtype());
  tensor::ScatterRows(rows_.value, tokens_, w);
  return w;
}

Tensor TrainableTokensMap::Dense() const { return Merged().Cast(dtype()); }

void TrainableTokensMap::Visit(Visitor& v) {
  base_->Visit(v);
  v.Leaf("token_adapter.trainable_tokens_delta", rows_);
}

}  // namespace lorikeet
