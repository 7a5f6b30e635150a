// From a product's sums to y: scaled, added to what y holds, rounded once. Only for .cu files of matrix products.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_EPILOGUE_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_EPILOGUE_CUDA_H_

#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/matmul_cuda.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

// What of a CudaProduct is left to do when the sums are there.
struct CudaEpilogue {
  void* y;
  int64_t rows, columns, y_row, y_column;
  float alpha, beta;
  const float* gain;
  bool vector;  // rows of y begin at multiples of 16 bytes and are contiguous, and so does the gain
};

inline CudaEpilogue EpilogueOf(const CudaProduct& p) {
  const int64_t pack = kPackBytes / static_cast<int64_t>(SizeOf(p.y_dtype));
  return {.y = p.y,
          .rows = p.a.n,
          .columns = p.b.n,
          .y_row = p.y_row,
          .y_column = p.y_column,
          .alpha = p.alpha,
          .beta = p.beta,
          .gain = p.gain,
          .vector = p.y_column == 1 && p.y_row % pack == 0 && reinterpret_cast<uintptr_t>(p.y) % kPackBytes == 0 &&
                    reinterpret_cast<uintptr_t>(p.gain) % kPackBytes == 0};
}

// y is not read where beta is 0: it may hold anything.
template <typename Y>
__device__ __forceinline__ Y Finished(const CudaEpilogue& e, float sum, int64_t column, const Y* old) {
  float v = e.alpha * sum;
  if (e.gain != nullptr) v *= e.gain[column];
  if (e.beta != 0) v = fmaf(e.beta, static_cast<float>(*old), v);
  return Y(v);
}

template <typename Y>
__device__ __forceinline__ void Finish(const CudaEpilogue& e, float sum, int64_t row, int64_t column) {
  Y* at = static_cast<Y*>(e.y) + row * e.y_row + column * e.y_column;
  *at = Finished(e, sum, column, at);
}

inline constexpr int kFinishRun = 8;  // columns at a time: 16 bytes of a 16-bit y

// The 8 columns from `column` on, or as many as there are.
template <typename Y>
__device__ __forceinline__ void FinishRun(const CudaEpilogue& e, const float* sums, int64_t row, int64_t column) {
  if (!e.vector || column + kFinishRun > e.columns) {
    for (int j = 0; j < kFinishRun && column + j < e.columns; ++j) Finish<Y>(e, sums[j], row, column + j);
    return;
  }
  constexpr int kCount = Pack<Y>::kCount;
  for (int j = 0; j < kFinishRun; j += kCount) {
    Y* at = static_cast<Y*>(e.y) + row * e.y_row + column + j;
    float v[kCount], old[kCount] = {};
    for (int c = 0; c < kCount; ++c) v[c] = e.alpha * sums[j + c];
    if (e.gain != nullptr) {
      float gain[kCount];
      Widen(LoadChunk<kCount>(e.gain + column + j), gain);
      for (int c = 0; c < kCount; ++c) v[c] *= gain[c];
    }
    if (e.beta != 0) {
      Widen(LoadChunk<kCount>(at), old);
      for (int c = 0; c < kCount; ++c) v[c] = fmaf(e.beta, old[c], v[c]);
    }
    StoreChunk(Narrow<Y>(v), at);
  }
}

// A tile of sums in shared memory, kRows by kColumns, whose first element belongs at (row0, column0).
template <typename Y, int kRows, int kColumns, int kPitch, int kThreads>
__device__ void FinishTile(const CudaEpilogue& e, const float* sums, int64_t row0, int64_t column0) {
  constexpr int kPerRow = kColumns / kFinishRun;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPerRow; i += kThreads) {
    const int64_t row = row0 + i / kPerRow, column = column0 + i % kPerRow * kFinishRun;
    if (row >= e.rows || column >= e.columns) continue;
    FinishRun<Y>(e, sums + i / kPerRow * kPitch + i % kPerRow * kFinishRun, row, column);
  }
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_EPILOGUE_CUDA_H_
