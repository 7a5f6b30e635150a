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

Tensor MatMul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const Tensor oa = Oriented(a, transpose_a, "a"), ob = Oriented(b, transpose_b, "b");
  Tensor y = Tensor::Empty({oa.dim(0), ob.dim(1)}, a.dtype(), a.device());
  MatMulInto(y, oa, false, ob, false);
  return y;
}

void MatMulInto(Tensor& y, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, float alpha,
                float beta) {
  const Tensor oa = Oriented(a, transpose_a, "a"), ob = Oriented(b, transpose_b, "b");
  LORIKEET_CHECK(DTypesFit(a.dtype(), b.dtype()) && oa.dim(1) == ob.dim(0) && a.device() == b.device())
      << "MatMul: a is " << Describe(oa) << " on " << ToString(a.device()) << ", b " << Describe(ob) << " on "
      << ToString(b.device()) << " (as multiplied)";
  CheckResult("MatMul", y, a, oa.dim(0), ob.dim(1));
  KernelOrDie(KernelsFor(a.device()).matmul, "MatMul", a)(oa.view(), ob.view(), y.view(), alpha, beta, LaunchContext{});
}

void MatMulPanels(Tensor& y, const Tensor& x, const PanelSource& w, bool transpose_w, float alpha, float beta) {
  LORIKEET_CHECK(x.defined() && x.rank() == 2 && x.dim(1) == (transpose_w ? w.cols : w.rows) &&
                 (x.dtype() == DType::kBF16 || x.dtype() == DType::kF32))
      << "MatMulPanels: x is " << Describe(x) << ", expected bf16 or f32 [tokens," << (transpose_w ? w.cols : w.rows)
      << "]";
  CheckResult("MatMulPanels", y, x, x.dim(0), transpose_w ? w.rows : w.cols);
  KernelOrDie(KernelsFor(x.device()).matmul_panels, "MatMulPanels", x)(x.view(), w, transpose_w, y.view(), alpha, beta,
                                                                       LaunchContext{});
}

bool HasFastBF16() { return internal::HaveBF16Dot(); }

}  // namespace lorikeet::tensor
