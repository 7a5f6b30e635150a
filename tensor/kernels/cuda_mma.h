// Tiles in shared memory and the fragments of them that tensor cores take, for the kernels of matrix products and of
// attention.
//
//   LoadTile<64, 32, 40, kThreads>(tile, source, row0, column0);  CommitCopies();      // asynchronous where it can be
//   WaitForCopies<0>();  __syncthreads();
//   uint32_t a[4], b[4];
//   LoadA<true, 40>(a, tile_a, row, k);                  // a [16 rows, 16 of k]
//   LoadB<true, 40>(b, tile_b, column, k);               // b [16 of k, 16 columns], two fragments
//   Mma<bf16>(c0, a, b[0], b[1]);  Mma<bf16>(c1, a, b[2], b[3]);
//
// A tile has its rows kPitch elements apart: a multiple of 16 bytes, 16 more than a multiple of 128 bytes or like it,
// so that the 8 rows of a matrix lie in 8 different sets of banks. kByK: the tile's rows are rows (columns, for b) of
// the operand, and k runs along them; else its rows are steps of k. third_party/cuda/mma.h says which lane holds what.
// Only for .cu files; nvcc and the simulator both take it.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_MMA_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_MMA_H_

#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "third_party/cuda/mma.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

template <typename T>
__device__ __forceinline__ void Mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, bf16>) {
    MmaBF16(c, a, b0, b1);
  } else {
    MmaF16(c, a, b0, b1);
  }
}

template <typename T>
__device__ __forceinline__ uint32_t PackPair(float low, float high) {
  if constexpr (std::is_same_v<T, bf16>) {
    return PackBF16(low, high);
  } else {
    return PackF16(low, high);
  }
}

template <bool kByK, int kPitch, typename T>
__device__ __forceinline__ void LoadA(uint32_t (&a)[4], const T* tile, int row, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32, i = lane % 8, low = lane / 8 % 2 * 8, high = lane / 16 * 8;
  if constexpr (kByK) {
    LoadMatrix<false>(a, tile + (row + i + low) * kPitch + k + high);
  } else {
    LoadMatrix<true>(a, tile + (k + i + high) * kPitch + row + low);
  }
}

template <bool kByK, int kPitch, typename T>
__device__ __forceinline__ void LoadB(uint32_t (&b)[4], const T* tile, int column, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32, i = lane % 8, low = lane / 8 % 2 * 8, high = lane / 16 * 8;
  if constexpr (kByK) {
    LoadMatrix<false>(b, tile + (column + i + high) * kPitch + k + low);
  } else {
    LoadMatrix<true>(b, tile + (k + i + low) * kPitch + column + high);
  }
}

// Where tiles come from: rows by columns in global memory. What lies past either is zero in a tile, and not read.
template <typename T>
struct TileSource {
  const T* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t row_stride = 0, column_stride = 0;  // elements
  bool vector = false;                        // 16 bytes at once: IsVector()

  static constexpr int kPack = static_cast<int>(16 / sizeof(T));
  __host__ __device__ bool IsVector() const {
    return column_stride == 1 && row_stride % kPack == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  }
};

// LoadTile where a thread's packs lie below one another: what it needs to know of them does not change from one to the
// next.
template <int kRows, int kColumns, int kPitch, int kThreads, typename T>
__device__ __forceinline__ void LoadTileOfVectors(T* tile, const TileSource<T>& x, int64_t row0, int64_t column0) {
  constexpr int kPack = TileSource<T>::kPack, kPerRow = kColumns / kPack, kStep = kThreads / kPerRow;
  const int row = static_cast<int>(threadIdx.x) / kPerRow, at = static_cast<int>(threadIdx.x) % kPerRow * kPack;
  const int64_t rows = x.rows - row0 - row, columns = x.columns - column0 - at;
  const int bytes = columns <= 0 ? 0 : columns < kPack ? static_cast<int>(columns * static_cast<int>(sizeof(T))) : 16;
  const int count = bytes == 0 || rows <= 0 ? 0 : rows < kRows ? static_cast<int>(rows) : kRows;
  const T* from = x.data + (row0 + row) * x.row_stride + column0 + at;
  T* const to = tile + row * kPitch + at;
#pragma unroll
  for (int i = 0; i < kRows; i += kStep) {
    CopyAsync16(to + i * kPitch, i < count ? from : x.data, i < count ? bytes : 0);
    from += kStep * x.row_stride;
  }
}

// The whole block copies a tile; it is there after WaitForCopies and a barrier.
template <int kRows, int kColumns, int kPitch, int kThreads, typename T>
__device__ __forceinline__ void LoadTile(T* tile, const TileSource<T>& x, int64_t row0, int64_t column0) {
  constexpr int kPack = TileSource<T>::kPack, kPerRow = kColumns / kPack;
  static_assert(kColumns % kPack == 0 && kPitch % kPack == 0);
  if constexpr (kThreads % kPerRow == 0 && kRows % (kThreads / kPerRow) == 0) {
    if (x.vector) return LoadTileOfVectors<kRows, kColumns, kPitch, kThreads>(tile, x, row0, column0);
  }
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPerRow; i += kThreads) {
    const int64_t row = row0 + i / kPerRow, column = column0 + i % kPerRow * kPack;
    const int64_t left = row < x.rows ? x.columns - column : 0;
    const int count = left < 0 ? 0 : left < kPack ? static_cast<int>(left) : kPack;
    T* to = tile + i / kPerRow * kPitch + i % kPerRow * kPack;
    const T* from = count == 0 ? x.data : x.data + row * x.row_stride + column * x.column_stride;
    if (x.vector) {
      CopyAsync16(to, from, count * static_cast<int>(sizeof(T)));
    } else {
      for (int j = 0; j < kPack; ++j) to[j] = j < count ? from[j * x.column_stride] : T(0.0f);
    }
  }
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_MMA_H_
