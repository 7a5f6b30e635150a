// Which of its ways CUDA takes for a matrix product.
#include <cstdint>
#include <utility>

#include "tensor/dtype.h"
#include "tensor/kernels/cublas_lt.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/matmul_cuda.h"
#include "tensor/view.h"

namespace lorikeet {
namespace internal {
namespace {

CudaOperand ByRows(const View& v) {
  CudaOperand x{.data = v.data,
                .dtype = v.dtype,
                .n = v.dims[0],
                .k = v.dims[1],
                .stride_n = v.strides[0],
                .stride_k = v.strides[1]};
  // A dimension of size 1 has whatever stride suits.
  if (x.k == 1) x.stride_k = 1;
  if (x.n == 1 && x.stride_k != 1) x.stride_n = 1;
  return x;
}

CudaOperand ByColumns(View v) {
  std::swap(v.dims[0], v.dims[1]);
  std::swap(v.strides[0], v.strides[1]);
  return ByRows(v);
}

}  // namespace

CudaProduct CudaProductOf(const View& a, const View& b, const View& y, const MatMulEpilogue& epilogue) {
  CudaProduct p{.a = ByRows(a),
                .b = ByColumns(b),
                .u = {},
                .v = {},
                .y = y.data,
                .y_dtype = y.dtype,
                .y_row = y.strides[0],
                .y_column = y.strides[1],
                .alpha = epilogue.alpha,
                .beta = epilogue.beta,
                .gain = epilogue.gain.ptr<const float>()};
  if (epilogue.u.data != nullptr && epilogue.u.dims[1] > 0) {
    p.u = ByRows(epilogue.u);
    p.v = ByColumns(epilogue.v);
  }
  if (p.b.n == 1) p.y_column = 1;
  if (p.a.n == 1 && p.y_column != 1) p.y_row = 1;
  // A single column becomes a single row; columns in memory become rows. A gain is one of columns, and only b may be
  // narrower than the other.
  const bool turned = p.b.n == 1 ? p.a.n > 1 : p.y_row == 1 && p.y_column != 1;
  if (turned && p.gain == nullptr && p.a.dtype == p.b.dtype) {
    std::swap(p.a, p.b);
    std::swap(p.u, p.v);
    std::swap(p.y_row, p.y_column);
    if (p.b.n == 1) p.y_column = 1;
  }
  return p;
}

}  // namespace internal

namespace {

void MatMul(View a, View b, View y, const MatMulEpilogue& epilogue, LaunchContext context) {
  for (const View* v : {&a, &b, &y}) internal::DispatchFloat(v->dtype, "matmul", [](auto) {});
  if (y.size() == 0) return;
  const internal::CudaProduct p = internal::CudaProductOf(a, b, y, epilogue);
  if (internal::FitsRowsProduct(p)) return internal::RowsProduct(p, context);
  if (internal::LibraryProduct(internal::CublasLtMultiply, p, context)) return;
  p.a.dtype == DType::kF32 ? internal::F32Product(p, context) : internal::TensorCoreProduct(p, context);
}

}  // namespace

extern const MatMulKernels kCudaMatMul = {.matmul = MatMul};

}  // namespace lorikeet
