#include "tensor/ops/norm.h"

#include <cstdint>

#include "absl/types/span.h"
#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/norm.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/shape.h"
#include "tensor/view.h"

namespace lorikeet::tensor {
namespace {

const NormKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuNorm : kCudaNorm; }

DType SumDType(DType t) { return t == DType::kF64 ? DType::kF64 : DType::kF32; }

Shape RowShape(const Tensor& x) { return Shape(absl::MakeConstSpan(x.shape().begin(), x.rank() - 1)); }

// [rows, d]. x has two dimensions, or is contiguous.
View Rows(const Tensor& x) {
  if (x.rank() == 2) return x.view();
  const int64_t d = x.dim(-1);
  View v = x.view();
  v.rank = 2;
  v.dims[0] = RowShape(x).size();
  v.dims[1] = d;
  v.strides[0] = d;
  v.strides[1] = 1;
  return v;
}

// The same for the row statistics, [..] -> [rows].
View Flat(const Tensor& rstd) {
  View v = rstd.view();
  v.rank = 1;
  v.dims[0] = rstd.size();
  v.strides[0] = 1;
  return v;
}

Tensor Dense(const Tensor& x) { return x.rank() == 2 ? x : x.Contiguous(); }

void CheckInput(const char* op, const Tensor& x, const Tensor& w) {
  LORIKEET_CHECK(x.defined() && x.rank() >= 1 && x.dim(-1) >= 1 && IsFloat(x.dtype()))
      << op << ": x is " << Describe(x) << ", expected a float tensor [.., d]";
  const bool half = x.dtype() == DType::kBF16 || x.dtype() == DType::kF16;
  LORIKEET_CHECK(w.defined() && w.rank() == 1 && w.dim(0) == x.dim(-1) &&
                 (w.dtype() == x.dtype() || (half && w.dtype() == DType::kF32)))
      << op << ": w is " << Describe(w) << ", expected " << Name(x.dtype()) << "[" << x.dim(-1) << "] to match x "
      << Describe(x);
  LORIKEET_CHECK(w.device() == x.device())
      << op << ": x is on " << ToString(x.device()) << ", w on " << ToString(w.device());
}

void CheckLike(const char* op, const char* name, const Tensor& t, const Tensor& x) {
  LORIKEET_CHECK(t.defined() && t.shape() == x.shape() && t.dtype() == x.dtype() && t.device() == x.device())
      << op << ": " << name << " is " << Describe(t) << ", expected the likeness of x " << Describe(x);
}

AddRmsNormResult Forward(const char* op, const Tensor& x, const Tensor& residual, const Tensor& w, float eps) {
  CheckInput(op, x, w);
  const bool add = residual.defined();
  AddRmsNormResult out;
  out.y = Tensor::Empty(x.shape(), x.dtype(), x.device());
  out.rstd = Tensor::Empty(RowShape(x), SumDType(x.dtype()), x.device());
  if (add) {
    CheckLike(op, "residual", residual, x);
    out.sum = Tensor::Empty(x.shape(), x.dtype(), x.device());
  }
  const auto kernel = KernelOrDie(KernelsFor(x.device()).rms_norm, op, x);
  const Tensor dense_x = Dense(x), dense_residual = add ? Dense(residual) : Tensor();
  kernel(Rows(dense_x), add ? Rows(dense_residual) : View{}, w.view(), eps, add ? Rows(out.sum) : View{}, Rows(out.y),
         Flat(out.rstd), {});
  return out;
}

RmsNormGradResult Backward(const char* op, const Tensor& dy, const Tensor& dsum, const Tensor& x, const Tensor& w,
                           const Tensor& rstd, bool want_dw) {
  CheckInput(op, x, w);
  CheckLike(op, "dy", dy, x);
  if (dsum.defined()) CheckLike(op, "dsum", dsum, x);
  LORIKEET_CHECK(rstd.defined() && rstd.shape() == RowShape(x) && rstd.dtype() == SumDType(x.dtype()))
      << op << ": rstd is " << Describe(rstd) << ", expected " << Name(SumDType(x.dtype())) << RowShape(x);
  RmsNormGradResult out;
  out.dx = Tensor::Empty(x.shape(), x.dtype(), x.device());
  if (want_dw) out.dw = Tensor::Empty(w.shape(), SumDType(x.dtype()), x.device());
  const auto kernel = KernelOrDie(KernelsFor(x.device()).rms_norm_grad, op, x);
  const Tensor dense_dy = Dense(dy), dense_x = Dense(x), dense_rstd = rstd.Contiguous();
  const Tensor dense_dsum = dsum.defined() ? Dense(dsum) : Tensor();
  kernel(Rows(dense_dy), dsum.defined() ? Rows(dense_dsum) : View{}, Rows(dense_x), w.view(), Flat(dense_rstd),
         Rows(out.dx), want_dw ? out.dw.view() : View{}, {});
  return out;
}

}  // namespace

RmsNormResult RmsNorm(const Tensor& x, const Tensor& w, float eps) {
  AddRmsNormResult r = Forward("RmsNorm", x, Tensor(), w, eps);
  return {r.y, r.rstd};
}

RmsNormGradResult RmsNormGrad(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, bool want_dw) {
  return Backward("RmsNormGrad", dy, Tensor(), x, w, rstd, want_dw);
}

AddRmsNormResult AddRmsNorm(const Tensor& x, const Tensor& residual, const Tensor& w, float eps) {
  LORIKEET_CHECK(residual.defined()) << "AddRmsNorm: residual is undefined";
  return Forward("AddRmsNorm", x, residual, w, eps);
}

RmsNormGradResult AddRmsNormGrad(const Tensor& dy, const Tensor& dsum, const Tensor& sum, const Tensor& w,
                                 const Tensor& rstd, bool want_dw) {
  return Backward("AddRmsNormGrad", dy, dsum, sum, w, rstd, want_dw);
}

}  // namespace lorikeet::tensor
