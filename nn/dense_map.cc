#include "nn/dense_map.h"

#include <utility>

#include "autograd/tape.h"
#include "tensor/check.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/gather.h"
#include "tensor/ops/matmul.h"

namespace lorikeet {
namespace {

// The product widens a 16-bit weight beside f32 by itself, block by block; only other mixtures need a copy.
Tensor InComputeDtype(const Tensor& w, const Tensor& x) {
  const bool widened = x.dtype() == DType::kF32 && (w.dtype() == DType::kBF16 || w.dtype() == DType::kF16);
  return widened ? w : w.Cast(x.dtype());
}

}  // namespace

DenseMap::DenseMap(Parameter weight) : weight_(std::move(weight)) {
  LORIKEET_CHECK_EQ(weight_.value.rank(), 2) << "DenseMap: weight is " << Describe(weight_.value);
}

void DenseMap::Forward(const Tensor& x, Tensor& y, const Epilogue& e) const {
  tensor::MatMulInto(y, x, false, InComputeDtype(weight_.value, x), true, e);
}

void DenseMap::InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const {
  tensor::MatMulInto(dx, dy, false, InComputeDtype(weight_.value, dy), false, e);
}

Variable DenseMap::Apply(const Variable& x) {
  if (frozen()) return LinearMap::Apply(x);
  const Variable w = Use(weight_, x.dtype());
  Deferred product = OutputWhenAsked(
      x.value(), [w = w.value()](const Tensor& x, Tensor& y) { tensor::MatMulInto(y, x, false, w, true, 1, 0); });
  return Record("Linear", {x, w}, std::move(product), {x, w.value()},
                [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  if (grad.wants(0)) {
                    Accumulator dx = grad.Accumulate(0);
                    tensor::MatMulInto(dx.buffer, dy, false, saved[1], false, 1, dx.beta);
                  }
                  if (grad.wants(1)) {
                    Accumulator dw = grad.Accumulate(1);
                    tensor::MatMulInto(dw.buffer, dy, true, saved[0], false, 1, dw.beta);
                  }
                });
}

Variable DenseMap::Lookup(const Tensor& ids, DType dtype) {
  if (frozen()) return LinearMap::Lookup(ids, dtype);
  const Variable w = Use(weight_);
  return Record("Lookup", {w}, tensor::GatherRows(w.value(), ids).Cast(dtype), {ids},
                [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  Accumulator dw = grad.Accumulate(0);
                  if (dw.beta == 0) tensor::FillInPlace(dw.buffer, 0);
                  tensor::ScatterAddRows(dw.buffer, saved[0], dy);
                });
}

Tensor DenseMap::Rows(const Tensor& ids, DType dtype) const {
  return tensor::GatherRows(weight_.value, ids).Cast(dtype);
}

}  // namespace lorikeet
