// Matrix products with an f32 operand, multiplied and added in f32: where cublasLt is missing or refuses. A block has
// 64 x 64 of y, a thread 4 x 4 of them; steps of 16 along k pass through shared memory, widened on the way.
#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul_cuda.h"
#include "tensor/kernels/matmul_epilogue_cuda.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

constexpr int kTile = 64, kStep = 16, kThreads = 256, kEach = 4;
constexpr int kPitch = kTile + 4;  // 16 bytes more: rows of a step begin in different banks

// tile[k][n] = x[n0 + n][k0 + k], by threads that are neighbours where x's elements are.
template <typename T>
__device__ void LoadStep(float* tile, const CudaOperand& x, int64_t n0, int64_t k0) {
  const bool along_k = x.stride_k == 1;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kStep; i += kThreads) {
    const int n = along_k ? i / kStep : i % kTile, k = along_k ? i % kStep : i / kTile;
    const bool inside = n0 + n < x.n && k0 + k < x.k;
    tile[k * kPitch + n] =
        inside ? static_cast<float>(static_cast<const T*>(x.data)[(n0 + n) * x.stride_n + (k0 + k) * x.stride_k]) : 0;
  }
}

template <typename B>
__device__ void AddProduct(const CudaOperand& a, const CudaOperand& b, int64_t m0, int64_t n0, float* as, float* bs,
                           float (&sums)[kEach][kEach]) {
  const int row = static_cast<int>(threadIdx.x) / 16 * kEach, column = static_cast<int>(threadIdx.x) % 16 * kEach;
  for (int64_t k0 = 0; k0 < a.k; k0 += kStep) {
    LoadStep<float>(as, a, m0, k0);
    LoadStep<B>(bs, b, n0, k0);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kStep; ++k) {
      const Pack<float> x = Load<Pack<float>>(as + k * kPitch + row), y = Load<Pack<float>>(bs + k * kPitch + column);
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] = fmaf(x.v[i], y.v[j], sums[i][j]);
      }
    }
    __syncthreads();
  }
}

template <typename B>
__global__ void __launch_bounds__(kThreads) F32Kernel(CudaProduct p, CudaEpilogue e, int64_t column_tiles) {
  CUDA_SHARED(float[kTile * kPitch], shared);
  const int64_t m0 = blockIdx.x / column_tiles * kTile, n0 = blockIdx.x % column_tiles * kTile;
  float sums[kEach][kEach] = {};
  AddProduct<B>(p.a, p.b, m0, n0, shared, shared + kStep * kPitch, sums);
  AddProduct<float>(p.u, p.v, m0, n0, shared, shared + kStep * kPitch, sums);
  const int row = static_cast<int>(threadIdx.x) / 16 * kEach, column = static_cast<int>(threadIdx.x) % 16 * kEach;
  for (int i = 0; i < kEach; ++i) {
    for (int j = 0; j < kEach; ++j) shared[(row + i) * kPitch + column + j] = sums[i][j];
  }
  __syncthreads();
  switch (p.y_dtype) {
    case DType::kBF16:
      return FinishTile<bf16, kTile, kTile, kPitch, kThreads>(e, shared, m0, n0);
    case DType::kF16:
      return FinishTile<f16, kTile, kTile, kPitch, kThreads>(e, shared, m0, n0);
    default:
      return FinishTile<float, kTile, kTile, kPitch, kThreads>(e, shared, m0, n0);
  }
}

}  // namespace

void F32Product(const CudaProduct& p, LaunchContext context) {
  const int64_t row_tiles = (p.a.n + kTile - 1) / kTile, column_tiles = (p.b.n + kTile - 1) / kTile;
  const auto kernel = p.b.dtype == DType::kF32    ? F32Kernel<float>
                      : p.b.dtype == DType::kBF16 ? F32Kernel<bf16>
                                                  : F32Kernel<f16>;
  CheckCuda(Launch(kernel, static_cast<unsigned>(row_tiles * column_tiles), kThreads, 0, StreamOf(context), p,
                   EpilogueOf(p), column_tiles),
            "matmul");
}

}  // namespace lorikeet::internal
