// The ways in which CUDA computes a matrix product; matmul_cuda.cu chooses. Each takes the problem in one form:
//
//   y[i][j] = alpha * gain[j] * (sum_k a[i][k] * b[j][k] + sum_r u[i][r] * v[j][r]) + beta * y[i][j]
//
// so b and v are seen by columns, and a product is transposed by exchanging a with b and u with v. Only for the CUDA
// kernels of this package and their test.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_CUDA_H_

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul.h"
#include "tensor/view.h"

namespace lorikeet::internal {

struct CudaOperand {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t n = 0, k = 0;                // n: rows of a and u, columns of b and v
  int64_t stride_n = 0, stride_k = 0;  // elements
};

struct CudaProduct {
  CudaOperand a, b, u, v;  // u.k == 0: no correction
  void* y = nullptr;
  DType y_dtype = DType::kF32;
  int64_t y_row = 0, y_column = 0;  // strides in elements
  float alpha = 1, beta = 0;
  const float* gain = nullptr;
};

// From the contract's arguments; y is turned so that its rows are contiguous where that can be.
CudaProduct CudaProductOf(const View& a, const View& b, const View& y, const MatMulEpilogue& epilogue);

// Tensor cores: 16-bit operands of one dtype, any strides.
void TensorCoreProduct(const CudaProduct& p, LaunchContext context);
// f32 a; b f32 or 16-bit; any strides.
void F32Product(const CudaProduct& p, LaunchContext context);
// At most kDotRows rows; a and b have contiguous rows at multiples of 16 bytes. Reads b once.
bool FitsRowsProduct(const CudaProduct& p);
void RowsProduct(const CudaProduct& p, LaunchContext context);

// A library's product of column-major matrices: d[m,n] = alpha * op(a)*op(b) + beta * d, where op(a) is [m,k] and op
// transposes if asked. ld: elements from one column to the next. a and b agree in dtype; d has theirs, or f32. Sums are
// in f32, and so is every product of f32 (no TF32). False: not possible, and nothing was done.
struct LibraryCall {
  const void *a = nullptr, *b = nullptr;
  void* d = nullptr;
  DType dtype = DType::kF32, d_dtype = DType::kF32;
  bool transpose_a = false, transpose_b = false;
  int64_t m = 0, n = 0, k = 0, lda = 0, ldb = 0, ldd = 0;
  float alpha = 1, beta = 0;
};
using LibraryFunction = bool (*)(const LibraryCall& call, LaunchContext context);

// False if the library cannot take the product (strides that are no matrix's, a refusal): then y is as it was.
bool LibraryProduct(LibraryFunction multiply, const CudaProduct& p, LaunchContext context);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_CUDA_H_
