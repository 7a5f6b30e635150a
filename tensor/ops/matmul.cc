#include "tensor/ops/matmul.h"

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul_tile.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet::tensor {
namespace {

const MatMulKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuMatMul : kCudaMatMul; }

bool DTypesFit(DType a, DType b) {
  if (a == b) return IsFloat(a);
  return a == DType::kF32 && (b == DType::kBF16 || b == DType::kF16);
}

void CheckResult(const char* op, const Tensor& y, const Tensor& x, int64_t rows, int64_t columns) {
  LORIKEET_CHECK(y.defined() && y.rank() == 2 && y.dim(0) == rows && y.dim(1) == columns && IsFloat(y.dtype()))
      << op << ": y is " << Describe(y) << ", expected a float [" << rows << "," << columns << "]";
  LORIKEET_CHECK(y.device() == x.device())
      << op << ": y is on " << ToString(y.device()) << ", x on " << ToString(x.device());
}

Tensor Oriented(const Tensor& t, bool transpose, const char* name) {
  LORIKEET_CHECK(t.defined() && t.rank() == 2) << "MatMul: " << name << " is " << Describe(t) << ", expected rank 2";
  return transpose ? t.Transpose(0, 1) : t;
}

}  // namespace

MatMulEpilogue ViewsOf(const char* op, const Tensor& a, const Tensor& y, const Epilogue& e) {
  MatMulEpilogue views{.alpha = e.alpha, .beta = e.beta};
  LORIKEET_CHECK_EQ(e.u.defined(), e.v.defined()) << op << ": u and v come together";
  if (e.u.defined()) {
    LORIKEET_CHECK(e.u.rank() == 2 && e.v.rank() == 2 && e.u.dim(0) == y.dim(0) && e.u.dim(1) == e.v.dim(0) &&
                   e.v.dim(1) == y.dim(1) && e.u.dtype() == a.dtype() && e.v.dtype() == a.dtype() &&
                   e.u.device() == a.device() && e.v.device() == a.device())
        << op << ": u is " << Describe(e.u) << " and v " << Describe(e.v) << ", expected [" << y.dim(0) << ",r] and [r,"
        << y.dim(1) << "] like a, " << Describe(a);
    views.u = e.u.view();
    views.v = e.v.view();
  }
  if (e.gain.defined()) {
    const DType dtype = a.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
    LORIKEET_CHECK(e.gain.shape() == (Shape{y.dim(1)}) && e.gain.dtype() == dtype && e.gain.contiguous() &&
                   e.gain.device() == a.device())
        << op << ": gain is " << Describe(e.gain) << ", expected a contiguous " << Name(dtype) << " [" << y.dim(1)
        << "]";
    views.gain = e.gain.view();
  }
  return views;
}

Tensor MatMul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const Tensor oa = Oriented(a, transpose_a, "a"), ob = Oriented(b, transpose_b, "b");
  Tensor y = Tensor::Empty({oa.dim(0), ob.dim(1)}, a.dtype(), a.device());
  MatMulInto(y, oa, false, ob, false);
  return y;
}

void MatMulInto(Tensor& y, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float alpha,
                float beta) {
  MatMulInto(y, a, transpose_a, b, transpose_b, {.alpha = alpha, .beta = beta});
}

void MatMulInto(Tensor& y, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Epilogue& e) {
  const Tensor oa = Oriented(a, transpose_a, "a"), ob = Oriented(b, transpose_b, "b");
  LORIKEET_CHECK(DTypesFit(a.dtype(), b.dtype()) && oa.dim(1) == ob.dim(0) && a.device() == b.device())
      << "MatMul: a is " << Describe(oa) << " on " << ToString(a.device()) << ", b " << Describe(ob) << " on "
      << ToString(b.device()) << " (as multiplied)";
  CheckResult("MatMul", y, a, oa.dim(0), ob.dim(1));
  const MatMulEpilogue epilogue = ViewsOf("MatMul", a, y, e);
  KernelOrDie(KernelsFor(a.device()).matmul, "MatMul", a)(oa.view(), ob.view(), y.view(), epilogue, LaunchContext{});
}

void MatMulPanels(Tensor& y, const Tensor& x, const PanelSource& w, bool transpose_w, const Epilogue& e) {
  LORIKEET_CHECK(x.defined() && x.rank() == 2 && x.dim(1) == (transpose_w ? w.cols : w.rows) &&
                 (x.dtype() == DType::kBF16 || x.dtype() == DType::kF32))
      << "MatMulPanels: x is " << Describe(x) << ", expected bf16 or f32 [tokens," << (transpose_w ? w.cols : w.rows)
      << "]";
  CheckResult("MatMulPanels", y, x, x.dim(0), transpose_w ? w.rows : w.cols);
  const MatMulEpilogue epilogue = ViewsOf("MatMulPanels", x, y, e);
  KernelOrDie(KernelsFor(x.device()).matmul_panels, "MatMulPanels", x)(x.view(), w, transpose_w, y.view(), epilogue,
                                                                       LaunchContext{});
}

bool HasFastBF16() { return internal::HaveBF16Dot(); }

}  // namespace lorikeet::tensor
