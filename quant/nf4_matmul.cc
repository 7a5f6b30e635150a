#include "quant/nf4_matmul.h"

#include "quant/nf4_kernels.h"
#include "quant/nf4_panels.h"
#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet {
namespace {

constexpr int64_t kMatVecUnit = 8;  // nf4_kernels.h: the columns are a multiple of it, and the units fewer than 2^32

// Straight from the codes, where the device can.
bool IsMatVec(const Tensor& x, const Nf4Tensor& w, bool transpose_w) {
  return x.device().is_cuda() && transpose_w && x.dim(0) <= kDotRows && w.shape[1] % kMatVecUnit == 0 &&
         w.size() / kMatVecUnit < int64_t{1} << 32 &&
         x.dim(1) * static_cast<int64_t>(SizeOf(x.dtype())) <= kNf4MatVecRowBytes && x.dtype() != DType::kF64;
}

void MatVec(Tensor& y, const Tensor& x, const Nf4Tensor& w, const tensor::Epilogue& e) {
  LORIKEET_CHECK(x.dim(1) == w.shape[1] && y.defined() && y.shape() == (Shape{x.dim(0), w.shape[0]}))
      << "MatMulNf4: x is " << Describe(x) << ", w " << w.shape << ", y " << Describe(y);
  const MatMulEpilogue views = tensor::ViewsOf("MatMulNf4", x, y, e);
  const Tensor rows = x.Contiguous();
  tensor::KernelOrDie(kCudaNf4.matvec, "MatMulNf4", x)(w.view(), rows.view(), y.view(), views, LaunchContext{});
}

}  // namespace

Tensor MatMulNf4(const Tensor& x, const Nf4Tensor& w, bool transpose_w) {
  Tensor y = Tensor::Empty({x.dim(0), w.shape[transpose_w ? 0 : 1]}, x.dtype(), x.device());
  MatMulNf4Into(y, x, w, transpose_w, {});
  return y;
}

void MatMulNf4Into(Tensor& y, const Tensor& x, const Nf4Tensor& w, bool transpose_w, const tensor::Epilogue& e) {
  LORIKEET_CHECK(x.device() == w.device() && x.rank() == 2 && w.shape.rank() == 2)
      << "MatMulNf4: x is " << Describe(x) << " on " << ToString(x.device()) << ", w " << w.shape << " on "
      << ToString(w.device());
  if (x.device().is_cpu() && (x.dtype() == DType::kBF16 || x.dtype() == DType::kF32)) {
    const Nf4Panels panels(w);
    return tensor::MatMulPanels(y, x, panels.source(), transpose_w, e);
  }
  if (IsMatVec(x, w, transpose_w)) return MatVec(y, x, w, e);
  tensor::MatMulInto(y, x, false, Dequantize(w, x.dtype()), transpose_w, e);
}

}  // namespace lorikeet
