#include "quant/nf4_matmul.h"

#include "quant/nf4_panels.h"
#include "tensor/dtype.h"

namespace lorikeet {

Tensor MatMulNf4(const Tensor& x, const Nf4Tensor& w, bool transpose_w) {
  Tensor y = Tensor::Empty({x.dim(0), w.shape[transpose_w ? 0 : 1]}, x.dtype());
  MatMulNf4Into(y, x, w, transpose_w, {});
  return y;
}

void MatMulNf4Into(Tensor& y, const Tensor& x, const Nf4Tensor& w, bool transpose_w, const tensor::Epilogue& e) {
  if (x.dtype() != DType::kBF16 && x.dtype() != DType::kF32) {
    tensor::MatMulInto(y, x, false, Dequantize(w, x.dtype()), transpose_w, e);
    return;
  }
  const Nf4Panels panels(w);
  tensor::MatMulPanels(y, x, panels.source(), transpose_w, e);
}

}  // namespace lorikeet
