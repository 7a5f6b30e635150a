// Matrix products of 16-bit floats on tensor cores: where cublasLt is missing or refuses, and the whole epilogue at
// once. A block has 128 x 128 of y; its 8 warps have 64 x 32 each. Steps of 32 along k pass through 4 stages of shared
// memory: three are being copied while one is multiplied. A low-rank correction is more steps of the same loop.
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_mma.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul_cuda.h"
#include "tensor/kernels/matmul_epilogue_cuda.h"
#include "third_party/cuda/mma.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

constexpr int kTile = 128, kStep = 32, kStages = 4, kThreads = 256;
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kSumPitch = kTile + 8;
constexpr int kGroup = 8;  // tiles of rows that go over the columns together, so that L2 serves them

// A stage of an operand: 128 rows of 32, or 32 steps of 128.
constexpr int Pitch(bool by_k) { return (by_k ? kStep : kTile) + 8; }
constexpr int StageElements(bool by_k) { return Pitch(by_k) * (by_k ? kTile : kStep); }
constexpr size_t SharedBytes(bool a_by_k, bool b_by_k) {
  const size_t stages = sizeof(bf16) * kStages * static_cast<size_t>(StageElements(a_by_k) + StageElements(b_by_k));
  const size_t sums = sizeof(float) * kTile * kSumPitch;
  return stages > sums ? stages : sums;
}

template <typename T>
struct Problem {
  TileSource<T> a, b, u, v;
  int64_t k, r;
  CudaEpilogue epilogue;
  DType y_dtype;
};

template <bool kByK, typename T>
__device__ __forceinline__ void LoadStep(T* stage, const TileSource<T>& x, int64_t n0, int64_t k0) {
  if constexpr (kByK) {
    LoadTile<kTile, kStep, Pitch(true), kThreads>(stage, x, n0, k0);
  } else {
    LoadTile<kStep, kTile, Pitch(false), kThreads>(stage, x, k0, n0);
  }
}

template <typename T, bool kAByK, bool kBByK>
__device__ __forceinline__ void MultiplyStep(const T* a, const T* b, int row, int column, float (&sums)[4][4][4]) {
  for (int k = 0; k < kStep; k += 16) {
    uint32_t af[4][4], bf[2][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) LoadA<kAByK, Pitch(kAByK)>(af[i], a, row + 16 * i, k);
#pragma unroll
    for (int j = 0; j < 2; ++j) LoadB<kBByK, Pitch(kBByK)>(bf[j], b, column + 16 * j, k);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) Mma<T>(sums[i][j], af[i], bf[j / 2][j % 2 * 2], bf[j / 2][j % 2 * 2 + 1]);
    }
  }
}

// Through shared memory, so that y is written in whole rows.
template <typename T>
__device__ __forceinline__ void FinishSums(const Problem<T>& p, const float (&sums)[4][4][4], float* shared, int row,
                                           int column, int64_t m0, int64_t n0) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  WaitForCopies<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      float* at = shared + (row + 16 * i + lane / 4) * kSumPitch + column + 8 * j + lane % 4 * 2;
      *reinterpret_cast<float2*>(at) = make_float2(sums[i][j][0], sums[i][j][1]);
      *reinterpret_cast<float2*>(at + 8 * kSumPitch) = make_float2(sums[i][j][2], sums[i][j][3]);
    }
  }
  __syncthreads();
  switch (p.y_dtype) {
    case DType::kBF16:
      return FinishTile<bf16, kTile, kTile, kSumPitch, kThreads>(p.epilogue, shared, m0, n0);
    case DType::kF16:
      return FinishTile<f16, kTile, kTile, kSumPitch, kThreads>(p.epilogue, shared, m0, n0);
    default:
      return FinishTile<float, kTile, kTile, kSumPitch, kThreads>(p.epilogue, shared, m0, n0);
  }
}

template <typename T, bool kAByK, bool kBByK>
__global__ void __launch_bounds__(kThreads, 2) TileKernel(Problem<T> p, int64_t row_tiles, int64_t column_tiles) {
  CUDA_DYNAMIC_SHARED(T, shared);
  constexpr int kStage = StageElements(kAByK) + StageElements(kBByK);
  const int64_t group = blockIdx.x / (kGroup * column_tiles), within = blockIdx.x % (kGroup * column_tiles);
  const int64_t left = row_tiles - group * kGroup, group_rows = left < kGroup ? left : kGroup;
  const int64_t m0 = (group * kGroup + within % group_rows) * kTile, n0 = within / group_rows * kTile;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = warp / 4 * kWarpRows, column = warp % 4 * kWarpColumns;

  const int64_t k_steps = (p.k + kStep - 1) / kStep, steps = k_steps + (p.r + kStep - 1) / kStep;
  const auto load = [&](int64_t step) {
    if (step < steps) {
      T* stage = shared + step % kStages * kStage;
      const bool main = step < k_steps;
      const int64_t k0 = (main ? step : step - k_steps) * kStep;
      LoadStep<kAByK>(stage, main ? p.a : p.u, m0, k0);
      LoadStep<kBByK>(stage + StageElements(kAByK), main ? p.b : p.v, n0, k0);
    }
    CommitCopies();  // an empty group keeps the count
  };

  float sums[4][4][4] = {};
  for (int s = 0; s + 1 < kStages; ++s) load(s);
  for (int64_t step = 0; step < steps; ++step) {
    WaitForCopies<kStages - 2>();
    __syncthreads();  // this step is there for all, and all are done with the one before, whose place is next
    load(step + kStages - 1);
    const T* stage = shared + step % kStages * kStage;
    MultiplyStep<T, kAByK, kBByK>(stage, stage + StageElements(kAByK), row, column, sums);
  }
  FinishSums(p, sums, reinterpret_cast<float*>(shared), row, column, m0, n0);
}

bool IsByK(const CudaOperand& x) { return x.stride_k == 1 || x.stride_n != 1; }

template <typename T>
TileSource<T> SourceOf(const CudaOperand& x, bool by_k) {
  TileSource<T> s{.data = static_cast<const T*>(x.data),
                  .rows = by_k ? x.n : x.k,
                  .columns = by_k ? x.k : x.n,
                  .row_stride = by_k ? x.stride_n : x.stride_k,
                  .column_stride = by_k ? x.stride_k : x.stride_n};
  s.vector = s.IsVector();
  return s;
}

template <typename T, bool kAByK, bool kBByK>
void Run(const CudaProduct& p, LaunchContext context) {
  const Problem<T> problem{.a = SourceOf<T>(p.a, kAByK),
                           .b = SourceOf<T>(p.b, kBByK),
                           .u = SourceOf<T>(p.u, kAByK),
                           .v = SourceOf<T>(p.v, kBByK),
                           .k = p.a.k,
                           .r = p.u.k,
                           .epilogue = EpilogueOf(p),
                           .y_dtype = p.y_dtype};
  const int64_t row_tiles = (p.a.n + kTile - 1) / kTile, column_tiles = (p.b.n + kTile - 1) / kTile;
  constexpr size_t kShared = SharedBytes(kAByK, kBByK);
  const auto kernel = TileKernel<T, kAByK, kBByK>;
  CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kShared)),
            "matmul");
  CheckCuda(Launch(kernel, static_cast<unsigned>(row_tiles * column_tiles), kThreads, kShared, StreamOf(context),
                   problem, row_tiles, column_tiles),
            "matmul");
}

template <typename T>
void RunLayout(const CudaProduct& p, LaunchContext context) {
  if (IsByK(p.a)) return IsByK(p.b) ? Run<T, true, true>(p, context) : Run<T, true, false>(p, context);
  return IsByK(p.b) ? Run<T, false, true>(p, context) : Run<T, false, false>(p, context);
}

}  // namespace

void TensorCoreProduct(const CudaProduct& p, LaunchContext context) {
  p.a.dtype == DType::kBF16 ? RunLayout<bf16>(p, context) : RunLayout<f16>(p, context);
}

}  // namespace lorikeet::internal
