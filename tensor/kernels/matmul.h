// Matrix products: y = alpha * g * (a*b + u*v) + beta * y, where g, u and v may be absent. The contract of a backend.
//
//   kCpuMatMul.matmul(a, b, y, {.alpha = 2}, {});                    // y = 2*a*b      a [M,K], b [K,N], y [M,N]
//   kCpuMatMul.matmul_panels(x, source, /*transpose_w=*/true, y, {}, {});     // y = x*W^T, W decoded while packed
//   kCpuMatMul.matmul(x, wt, y, {.u = u, .v = bt, .gain = g}, {});   // y = g*(x*W^T + u*B^T): DoRA in one product
//
// matmul: any strides, so a transposed operand is a view with its strides exchanged; M, N and K may be 0 (K = 0 leaves
// beta * y). y overlaps neither operand. beta = 0 overwrites y whatever it held, NaN included.
// dtypes: a and b agree (f64, f32, bf16, f16), or a is f32 and b is bf16 or f16, which is widened exactly. y is any
// float. Sums are kept in f32 (f64 for f64 operands) over the whole of K in ascending order, then over u*v's, then
// scaled, added to beta * y and rounded once.
// bf16 operands use what the processor has for them, denormals taken as zero (in a bf16 y too):
//   AMX's tiles (tdpbf16ps; where the system lets a process use them, as Linux does from 5.16 on): of 32 k in turn the
//   even ones' products are added up, and the odd ones', then the two, then that to the sum;
//   the dot instruction (vdpbf16ps): per pair of k, the odd product is added first, then the even one, each rounded to
//   nearest even;
//   elsewhere bf16 is widened and multiplied in f32, in ascending k.
// Products of at most kDotRows rows with a weight whose rows are contiguous (generation) are computed as dot products
// of whole rows: no packing, another order of summation.
// CUDA: sums in f32 (no TF32), in an order that depends on shapes, strides and the device alone. The product is
// cublasLt's where that library is found, except for at most kDotRows rows of contiguous rows; else ours, on tensor
// cores for 16-bit operands, with everything above in one pass. cublasLt has no such pass, so there a 16-bit y is
// rounded once more: alpha * u*v + beta * y is y when alpha * a*b is added to it, and what a gain scales is y. An f32 y
// has no such steps, nor has a y of another dtype than the operands', for which sums are kept in f32 outside of it. a
// and b are not f64. Threads: work is split over tensor/kernels/parallel.h. No sum is split, so bits do not depend on
// the number of threads.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_H_

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

inline constexpr int64_t kPanelColumns = 64;  // columns of a full panel, and the alignment of every block of K
inline constexpr int64_t kDotRows = 4;

// A weight W [rows, cols] = [out, in] in some packed form, decoded piece by piece inside the product, so that no
// decoded copy of it ever exists. A plain struct of functions over `context`, which must stay alive and unchanged
// during the product. The functions are called from several threads at once. CPU only.
struct PanelSource {
  int64_t rows = 0, cols = 0;
  const void* context = nullptr;

  // Required. dst[i * dst_stride + j] = W[row0 + i, col0 + j] for i < rows, j < cols, as dtype: kBF16 (rounded to
  // nearest even) or kF32. row0 and col0 are multiples of 64; rows and cols are too, except at W's edges. dst is
  // aligned to 64 bytes and dst_stride is a multiple of 64.
  void (*decode)(const void* context, int64_t row0, int64_t rows, int64_t col0, int64_t cols, DType dtype, void* dst,
                 int64_t dst_stride) = nullptr;

  // Optional: writes one bf16 panel directly, `k_count` steps of the reduction by 64 columns of y:
  //   dst[(k / 2) * 128 + 2 * n + k % 2] = transposed ? W[n0 + n, k0 + k]      (y = x*W^T:  n is a row of W)
  //                                                   : W[k0 + k, n0 + n]      (dx = dy*W:  n is a column of W)
  // for k < k_count, n < 64: pairs along the reduction, as vdpbf16ps takes them. Called only where k0, n0 and k_count
  // are multiples of 64 and the 64 columns exist; the rest goes through `decode`. dst is aligned to 64 bytes.
  void (*pack_bf16)(const void* context, bool transposed, int64_t k0, int64_t k_count, int64_t n0,
                    uint16_t* dst) = nullptr;

  // Optional, for 1..kDotRows rows of x (y = x*W^T only):
  //   y[m * y_stride + i] = sum_k x[m * x_stride + k] * W[row0 + i, k]         for m < m_count, i < rows
  // x_dtype is kBF16 or kF32; y is f32 and is overwritten. row0 is a multiple of 16; rows is too, except at the end.
  void (*dot_rows)(const void* context, int64_t row0, int64_t rows, DType x_dtype, const void* x, int64_t m_count,
                   int64_t x_stride, float* y, int64_t y_stride) = nullptr;
};

// What a product does besides, while its sums are at hand. An absent View has no data.
struct MatMulEpilogue {
  float alpha = 1, beta = 0;
  View u = {}, v = {};  // a low-rank correction, [M,R] and [R,N], in a's dtype, any strides. Both or neither
  View gain = {};       // one factor a column, [N] contiguous, f32 (f64 for f64 operands)
};

struct MatMulKernels {
  void (*matmul)(View a, View b, View y, const MatMulEpilogue&, LaunchContext) = nullptr;
  // transpose_w: x*W^T with x [M,cols] and y [M,rows]. Otherwise x*W with x [M,rows] and y [M,cols]. x is bf16 or f32,
  // and W is decoded to x's dtype. Null on CUDA, always: a PanelSource is the CPU's.
  void (*matmul_panels)(View x, const PanelSource& w, bool transpose_w, View y, const MatMulEpilogue&,
                        LaunchContext) = nullptr;
};

extern const MatMulKernels kCpuMatMul;
extern const MatMulKernels kCudaMatMul;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_H_
