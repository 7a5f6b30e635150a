#include "tensor/ops/layer_norm.h"

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/shape.h"
#include "tensor/view.h"

namespace lorikeet::tensor {
namespace {

const LayerNormKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuLayerNorm : kCudaLayerNorm; }

DType SumDType(DType t) { return t == DType::kF64 ? DType::kF64 : DType::kF32; }

// [rows, d].
Tensor Rows(const Tensor& x) { return x.rank() == 2 ? x : x.Reshape({x.size() / x.dim(-1), x.dim(-1)}); }

void CheckWeight(const char* op, const char* name, const Tensor& w, const Tensor& x) {
  const bool half = x.dtype() == DType::kBF16 || x.dtype() == DType::kF16;
  LORIKEET_CHECK(w.defined() && w.rank() == 1 && w.dim(0) == x.dim(-1) && w.device() == x.device() &&
                 (w.dtype() == x.dtype() || (half && w.dtype() == DType::kF32)))
      << op << ": " << name << " is " << Describe(w) << ", expected " << Name(x.dtype()) << "[" << x.dim(-1)
      << "] to match x " << Describe(x);
}

void CheckInput(const char* op, const Tensor& x, const Tensor& w) {
  LORIKEET_CHECK(x.defined() && x.rank() >= 1 && x.dim(-1) >= 1 && IsFloat(x.dtype()))
      << op << ": x is " << Describe(x) << ", expected a float tensor [.., d]";
  CheckWeight(op, "w", w, x);
}

}  // namespace

LayerNormResult LayerNorm(const Tensor& x, const Tensor& w, const Tensor& b, float eps) {
  CheckInput("LayerNorm", x, w);
  CheckWeight("LayerNorm", "b", b, x);
  const Tensor rows = Rows(x), y = Tensor::Empty(rows.shape(), x.dtype(), x.device());
  const Tensor mean = Tensor::Empty({rows.dim(0)}, SumDType(x.dtype()), x.device());
  const Tensor rstd = Tensor::Empty({rows.dim(0)}, SumDType(x.dtype()), x.device());
  KernelOrDie(KernelsFor(x.device()).layer_norm, "LayerNorm", x)(rows.view(), w.view(), b.view(), eps, y.view(),
                                                                 mean.view(), rstd.view(), {});
  return {y.Reshape(x.shape()), mean, rstd};
}

LayerNormGradResult LayerNormGrad(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                  const Tensor& rstd, bool want_weights) {
  const char* op = "LayerNormGrad";
  CheckInput(op, x, w);
  CheckLike(op, "dy", dy, x);
  const Tensor x_rows = Rows(x), dy_rows = Rows(dy), dx = Tensor::Empty(x_rows.shape(), x.dtype(), x.device());
  for (const Tensor* t : {&mean, &rstd}) {
    CheckDType(op, "mean or rstd", *t, SumDType(x.dtype()));
    CheckShape(op, "mean or rstd", *t, {x_rows.dim(0)});
  }
  LayerNormGradResult out;
  if (want_weights) {
    out.dw = Tensor::Empty(w.shape(), SumDType(x.dtype()), x.device());
    out.db = Tensor::Empty(w.shape(), SumDType(x.dtype()), x.device());
  }
  KernelOrDie(KernelsFor(x.device()).layer_norm_grad, op, x)(
      dy_rows.view(), x_rows.view(), w.view(), mean.view(), rstd.view(), dx.view(),
      want_weights ? out.dw.view() : View{}, want_weights ? out.db.view() : View{}, {});
  out.dx = dx.Reshape(x.shape());
  return out;
}

}  // namespace lorikeet::tensor
