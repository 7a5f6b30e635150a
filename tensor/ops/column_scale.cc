#include "tensor/ops/column_scale.h"

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/column_scale.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/view.h"

namespace lorikeet::tensor {
namespace {

const ColumnScaleKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuColumnScale : kCudaColumnScale; }

DType FactorDType(DType t) { return t == DType::kF64 ? DType::kF64 : DType::kF32; }

void CheckOperands(const char* op, const Tensor& x, const Tensor& g) {
  CheckFloat(op, x);
  CheckSameDevice(op, x, g);
  LORIKEET_CHECK(x.rank() == 2 && g.rank() == 1 && g.dim(0) == x.dim(1) && g.dtype() == FactorDType(x.dtype()))
      << op << ": x is " << Describe(x) << ", g is " << Describe(g) << ", expected [n,d] and "
      << Name(FactorDType(x.dtype())) << "[d]";
}

}  // namespace

Tensor ColumnScale(const Tensor& x, const Tensor& g, DType dtype) {
  CheckOperands("ColumnScale", x, g);
  LORIKEET_CHECK(IsFloat(dtype) && FactorDType(dtype) == g.dtype())
      << "ColumnScale: y is to be " << Name(dtype) << ", x is " << Describe(x);
  Tensor y = Tensor::Empty(x.shape(), dtype, x.device());
  KernelOrDie(KernelsFor(x.device()).column_scale, "ColumnScale", x)(x.view(), g.view(), y.view(), {});
  return y;
}

ColumnScaleGrads ColumnScaleGrad(const Tensor& dy, const Tensor& x, const Tensor& g, bool want_dot) {
  CheckOperands("ColumnScaleGrad", x, g);
  CheckLike("ColumnScaleGrad", "dy", dy, x);
  ColumnScaleGrads out;
  out.dx = Tensor::Empty(dy.shape(), dy.dtype(), dy.device());
  if (want_dot) out.dot = Tensor::Empty(g.shape(), g.dtype(), g.device());
  KernelOrDie(KernelsFor(x.device()).column_scale_grad, "ColumnScaleGrad", x)(
      dy.view(), x.view(), g.view(), out.dx.view(), want_dot ? out.dot.view() : View{}, {});
  return out;
}

}  // namespace lorikeet::tensor
