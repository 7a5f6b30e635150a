// Matrix products by a library of plain ones: what is a matrix to it, and what is left to do before and after.
#include <algorithm>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_map.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul_cuda.h"
#include "tensor/kernels/matmul_epilogue_cuda.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

// An operand in memory as a library sees it: k, or n, side by side; the other `ld` apart.
struct Layout {
  bool possible, k_first;
  int64_t ld;
};

Layout LayoutOf(const CudaOperand& x) {
  const auto ld = [](int64_t stride, int64_t count, int64_t inner) {
    return count == 1 ? std::max<int64_t>(inner, 1) : stride;
  };
  const int64_t by_k = ld(x.stride_n, x.n, x.k), by_n = ld(x.stride_k, x.k, x.n);
  if (x.stride_k == 1 && by_k >= x.k) return {true, true, by_k};
  return {x.stride_n == 1 && by_n >= x.n, false, by_n};
}

bool FitsLibrary(const CudaOperand& a, const CudaOperand& b) { return LayoutOf(a).possible && LayoutOf(b).possible; }

// Rows of y are columns to the library: y^T = b * a^T.
LibraryCall CallFor(const CudaOperand& a, const CudaOperand& b) {
  const Layout la = LayoutOf(a), lb = LayoutOf(b);
  return {.a = b.data,
          .b = a.data,
          .dtype = a.dtype,
          .transpose_a = lb.k_first,
          .transpose_b = !la.k_first,
          .m = b.n,
          .n = a.n,
          .k = a.k,
          .lda = lb.ld,
          .ldb = la.ld};
}

template <typename T>
__global__ void WidenKernel(CudaOperand x, float* out) {
  for (int64_t i = FirstIndex(); i < x.n * x.k; i += IndexStride()) {
    out[i] = static_cast<float>(static_cast<const T*>(x.data)[i / x.k * x.stride_n + i % x.k * x.stride_k]);
  }
}

CudaOperand Widened(const CudaOperand& x, LaunchContext context) {
  const int64_t count = x.n * x.k;
  float* out = static_cast<float*>(CudaScratch(kCudaScratchMatMulWidened, static_cast<size_t>(count) * sizeof(float)));
  CheckCuda(Launch(x.dtype == DType::kBF16 ? WidenKernel<bf16> : WidenKernel<f16>, GridFor(count), kBlockThreads, 0,
                   StreamOf(context), x, out),
            "matmul");
  return {.data = out, .dtype = DType::kF32, .n = x.n, .k = x.k, .stride_n = x.k, .stride_k = 1};
}

// kFinishRun sums of a row of z, of which there are `count` left. vector: 16 bytes at once, where there are so many.
template <typename Z>
__device__ __forceinline__ void ReadSums(const Z* z, int64_t count, bool vector, float (&sums)[kFinishRun]) {
  constexpr int kPack = Pack<Z>::kCount;
  if (!vector || count < kFinishRun) {
    for (int j = 0; j < kFinishRun; ++j) sums[j] = j < count ? static_cast<float>(z[j]) : 0.0f;
    return;
  }
  for (int j = 0; j < kFinishRun; j += kPack) {
    const auto pack = Load<Pack<Z>>(z + j);
    for (int i = 0; i < kPack; ++i) sums[j + i] = static_cast<float>(pack.v[i]);
  }
}

// z may be y itself: each run is read before it is written.
template <typename Z, typename Y>
__global__ void FinishKernel(const Z* z, int64_t z_row, bool vector, CudaEpilogue e) {
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < e.rows;
       row += static_cast<int64_t>(gridDim.y) * blockDim.y) {
    for (int64_t column = FirstIndex() * kFinishRun; column < e.columns; column += IndexStride() * kFinishRun) {
      float sums[kFinishRun];
      ReadSums(z + row * z_row + column, e.columns - column, vector, sums);
      FinishRun<Y>(e, sums, row, column);
    }
  }
}

template <typename Z, typename Y>
void FinishFrom(const void* z, int64_t z_row, const CudaEpilogue& e, LaunchContext context) {
  const MapGrid grid = MapGridFor(e.rows, (e.columns + kFinishRun - 1) / kFinishRun);
  const bool vector = z_row % Pack<Z>::kCount == 0 && reinterpret_cast<uintptr_t>(z) % kPackBytes == 0;
  CheckCuda(Launch(FinishKernel<Z, Y>, grid.grid, grid.block, 0, StreamOf(context), static_cast<const Z*>(z), z_row,
                   vector, e),
            "matmul");
}

void OwnProduct(const CudaProduct& p, LaunchContext context) {
  p.a.dtype == DType::kF32 ? F32Product(p, context) : TensorCoreProduct(p, context);
}

// y = alpha * (a*b + u*v) + beta * y, for a y that the library takes and no gain. The correction comes first: it is
// the smaller part, so rounding it loses less.
bool MultiplyInto(LibraryFunction multiply, CudaProduct p, LaunchContext context) {
  const auto run = [&](const CudaOperand& a, const CudaOperand& b) {
    LibraryCall call = CallFor(a, b);
    call.d = p.y;
    call.d_dtype = p.y_dtype;
    call.ldd = p.a.n == 1 ? std::max<int64_t>(p.b.n, 1) : p.y_row;
    call.alpha = p.alpha;
    call.beta = p.beta;
    return multiply(call, context);
  };
  if (p.u.k == 0) return run(p.a, p.b);
  if (!run(p.u, p.v)) return false;
  p.u.k = p.v.k = 0;
  p.beta = 1;
  if (!run(p.a, p.b)) OwnProduct(p, context);
  return true;
}

}  // namespace

bool LibraryProduct(LibraryFunction multiply, const CudaProduct& p, LaunchContext context) {
  if (p.a.k == 0 || !LayoutOf(p.a).possible || (p.u.k > 0 && !FitsLibrary(p.u, p.v))) return false;
  const bool widen = p.a.dtype != p.b.dtype;
  if (!widen && !LayoutOf(p.b).possible) return false;
  CudaProduct q = p;
  if (widen) q.b = Widened(p.b, context);
  q.gain = nullptr;
  const bool plain_y =
      p.y_column == 1 && (p.y_row >= p.b.n || p.a.n == 1) && (p.y_dtype == p.a.dtype || p.y_dtype == DType::kF32);
  if (plain_y && (p.gain == nullptr || p.beta == 0)) {
    if (!MultiplyInto(multiply, q, context)) return false;
    if (p.gain == nullptr) return true;
    CudaEpilogue e = EpilogueOf(p);
    e.alpha = 1;
    DispatchFloat(p.y_dtype, "matmul",
                  [&]<typename Y>(Y) { FinishFrom<Y, Y>(p.y, p.a.n == 1 ? p.b.n : p.y_row, e, context); });
    return true;
  }
  q.y = CudaScratch(kCudaScratchMatMulSums, static_cast<size_t>(p.a.n * p.b.n) * sizeof(float));
  q.y_dtype = DType::kF32;
  q.y_row = p.b.n;
  q.y_column = 1;
  q.alpha = 1;
  q.beta = 0;
  if (!MultiplyInto(multiply, q, context)) return false;
  DispatchFloat(p.y_dtype, "matmul", [&]<typename Y>(Y) { FinishFrom<float, Y>(q.y, p.b.n, EpilogueOf(p), context); });
  return true;
}

}  // namespace lorikeet::internal
