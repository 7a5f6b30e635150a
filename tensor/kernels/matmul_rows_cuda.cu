// Products of a few rows with a weight, as in generation: every weight is read once, 16 bytes at a time, and that is
// the time it takes. A warp has one row of the weight and all rows of a; a's few rows come from the cache.
#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul_cuda.h"
#include "tensor/kernels/matmul_epilogue_cuda.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

constexpr int kWarps = kBlockThreads / 32;

template <typename T>
__device__ __forceinline__ float At(const CudaOperand& x, int64_t n, int64_t k) {
  return static_cast<float>(static_cast<const T*>(x.data)[n * x.stride_n + k * x.stride_k]);
}

// sums[m] += this lane's share of row m of a with row `row` of b.
template <typename A, typename B, int kRows>
__device__ __forceinline__ void AddDots(const CudaOperand& a, const CudaOperand& b, int64_t row, int lane,
                                        float (&sums)[kRows]) {
  constexpr int kCount = Pack<B>::kCount, kPart = Pack<A>::kCount;
  const B* w = static_cast<const B*>(b.data) + row * b.stride_n;
  const int64_t whole = b.k / kCount * kCount;
#pragma unroll 4  // loads under way at a time
  for (int64_t k = lane * kCount; k < whole; k += 32 * kCount) {
    const Pack<B> ws = Load<Pack<B>>(w + k);
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      if (m >= a.n) break;
      const A* x = static_cast<const A*>(a.data) + m * a.stride_n + k;
#pragma unroll
      for (int j = 0; j < kCount; j += kPart) {
        const Pack<A> xs = Load<Pack<A>>(x + j);
#pragma unroll
        for (int i = 0; i < kPart; ++i) {
          sums[m] = fmaf(static_cast<float>(xs.v[i]), static_cast<float>(ws.v[j + i]), sums[m]);
        }
      }
    }
  }
  for (int64_t k = whole + lane; k < b.k; k += 32) {
    for (int m = 0; m < kRows && m < a.n; ++m) sums[m] = fmaf(At<A>(a, m, k), At<B>(b, row, k), sums[m]);
  }
}

template <typename A, typename B, int kRows>
__global__ void __launch_bounds__(kBlockThreads) RowsKernel(CudaProduct p, CudaEpilogue e) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= p.b.n) return;
  float sums[kRows] = {};
  AddDots<A, B, kRows>(p.a, p.b, row, lane, sums);
  for (int64_t r = lane; r < p.u.k; r += 32) {
    for (int m = 0; m < kRows && m < p.a.n; ++m) sums[m] = fmaf(At<A>(p.u, m, r), At<A>(p.v, row, r), sums[m]);
  }
  for (int m = 0; m < kRows && m < p.a.n; ++m) {
    const float sum = WarpSum(sums[m]);
    if (lane != 0) continue;
    switch (p.y_dtype) {
      case DType::kBF16:
        Finish<bf16>(e, sum, m, row);
        break;
      case DType::kF16:
        Finish<f16>(e, sum, m, row);
        break;
      default:
        Finish<float>(e, sum, m, row);
    }
  }
}

bool HasVectorRows(const CudaOperand& x) {
  const int64_t pack = kPackBytes / static_cast<int64_t>(SizeOf(x.dtype));
  return (x.stride_k == 1 || x.k <= 1) && (x.stride_n % pack == 0 || x.n == 1) &&
         reinterpret_cast<uintptr_t>(x.data) % kPackBytes == 0;
}

template <typename A, typename B>
void Run(const CudaProduct& p, LaunchContext context) {
  const auto kernel = p.a.n == 1 ? RowsKernel<A, B, 1> : p.a.n == 2 ? RowsKernel<A, B, 2> : RowsKernel<A, B, kDotRows>;
  CheckCuda(Launch(kernel, static_cast<unsigned>((p.b.n + kWarps - 1) / kWarps), kBlockThreads, 0, StreamOf(context), p,
                   EpilogueOf(p)),
            "matmul");
}

}  // namespace

bool FitsRowsProduct(const CudaProduct& p) { return p.a.n <= kDotRows && HasVectorRows(p.a) && HasVectorRows(p.b); }

void RowsProduct(const CudaProduct& p, LaunchContext context) {
  if (p.a.dtype == DType::kBF16) return Run<bf16, bf16>(p, context);
  if (p.a.dtype == DType::kF16) return Run<f16, f16>(p, context);
  if (p.b.dtype == DType::kBF16) return Run<float, bf16>(p, context);
  if (p.b.dtype == DType::kF16) return Run<float, f16>(p, context);
  Run<float, float>(p, context);
}

}  // namespace lorikeet::internal
