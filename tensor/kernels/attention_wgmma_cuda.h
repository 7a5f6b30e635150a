// Tiles of the attention kernels for Hopper's warpgroups, in place of MmaTiles (attention_tile_cuda.h): four warps have
// 64 rows and multiply them with columns that they read from shared memory once, not once a warp. For 16-bit types and
// heads of 64 or 128. Only for .cu files.
//
// A tile is panels of 64 columns, as third_party/cuda/wgmma.h wants them.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_WGMMA_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_WGMMA_CUDA_H_

#include <cstdint>
#include <type_traits>

#include "tensor/kernels/attention_tile_cuda.h"
#include "tensor/kernels/cuda_mma.h"
#include "third_party/cuda/mma.h"
#include "third_party/cuda/runtime.h"
#include "third_party/cuda/wgmma.h"

namespace lorikeet::internal {

// Of kRows rows.
template <typename T, int kRows>
struct PanelTile {
  const T* data;
  __device__ static int At(int row, int c) { return c / 8 * (kRows * 64) + row * 64 + ((c % 8) ^ (row % 8)) * 8; }
  __device__ const T* Chunk(int row, int c) const { return data + At(row, c); }
};

// A thread copies the same chunk of every kStep-th row; kStep is a multiple of 8, so it also lies at the same place.
template <typename T, int kD, int kRows, int kThreads>
__device__ __forceinline__ void LoadPanels(T* tile, const TileSource<T>& x, int64_t row0) {
  constexpr int kPerRow = kD / 8, kStep = kThreads / kPerRow;
  static_assert(kStep % 8 == 0 && kRows % kStep == 0);
  const int row = static_cast<int>(threadIdx.x) / kPerRow, c = static_cast<int>(threadIdx.x) % kPerRow;
  const int64_t rows = x.rows - row0 - row, columns = x.columns - 8 * c;
  const int width = columns < 0 ? 0 : columns < 8 ? static_cast<int>(columns) : 8;
  const int count = width == 0 || rows <= 0 ? 0 : rows < kRows ? static_cast<int>(rows) : kRows;
  const T* from = x.data + (row0 + row) * x.row_stride + 8 * c * x.column_stride;
  T* const to = tile + PanelTile<T, kRows>::At(row, c);
  const int64_t step = kStep * x.row_stride;
  if (!x.vector) {
#pragma unroll 1
    for (int i = 0; i < kRows; i += kStep, from += step) {
#pragma unroll 1
      for (int j = 0; j < 8; ++j) to[i * 64 + j] = i < count && j < width ? from[j * x.column_stride] : T(0.0f);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kRows; i += kStep, from += step) {
    CopyAsync16(to + i * 64, i < count ? from : x.data, i < count ? 2 * width : 0);
  }
}

template <typename T, int kD, int kThreads>
struct WgmmaTiles {
  static_assert(kD == 64 || kD == 128);
  static constexpr bool kF16 = std::is_same_v<T, f16>;
  static constexpr uintptr_t kAlignment = 1024;
  template <int kRows>
  static constexpr int kElements = kRows* kD;

  template <int kRows>
  static __device__ __forceinline__ void Load(T* tile, const TileSource<T>& x, int64_t row0) {
    LoadPanels<T, kD, kRows, kThreads>(tile, x, row0);
  }
  static __device__ __forceinline__ void Publish() { FenceSharedForWgmma(); }

  template <int kRows, int kN>
  static __device__ __forceinline__ void Scores(float (&s)[1][kN][4], const T* rows, const T* columns) {
    BeginScores();
    IssueScores<kRows>(s[0], rows, columns);
    EndScores();
    WgmmaWait(s[0]);
  }
  template <int kRows, int kN>
  static __device__ __forceinline__ void TwoScores(float (&s)[1][kN][4], const T* rows, const T* columns,
                                                   float (&s2)[1][kN][4], const T* rows2, const T* columns2) {
    BeginScores();
    IssueScores<kRows>(s[0], rows, columns);
    IssueScores<kRows>(s2[0], rows2, columns2);
    EndScores();
    WgmmaWait(s[0]);
    WgmmaWait(s2[0]);
  }

  template <int kN>
  static __device__ __forceinline__ void AddWeighted(float (&y)[1][kD / 8][4], const float (&s)[1][kN][4],
                                                     const T* columns, bool exactly) {
    if (exactly) return AddWeightedExactly<kD>(y, s, PanelTile<T, 8 * kN>{columns});
    uint32_t a[kN / 2][4];
#pragma unroll
    for (int i = 0; i < kN * 2; ++i) {
      const float(&pair)[4] = s[0][i / 4 * 2 + i % 4 / 2];
      a[i / 4][i % 4] = PackPair<T>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
    }
    const auto matrix = MnMajor(columns, kN * 8 * 128);
    WgmmaFence();
#pragma unroll
    for (int n = 0; n < kN / 2; ++n) {
      Wgmma<kF16, true>(y[0], a[n], Behind(matrix, n * 16 * 128), true);
    }
    WgmmaCommit();
    WgmmaWait(y[0]);
#pragma unroll
    for (int n = 0; n < kN / 2; ++n) WgmmaKeep(a[n]);
  }

  template <int kRows>
  static __device__ __forceinline__ bool SeesNonfinite(const T* tile) {
    return internal::SeesNonfinite<T, kD, kRows, kThreads>(PanelTile<T, kRows>{tile});
  }

 private:
  // One warpgroup's scores come before the next one's, so that it has something to do between products while the next
  // one multiplies: all at once, they would all wait at the same time.
  static __device__ __forceinline__ void BeginScores() {
    const int group = Warp() / 4;
    if (group > 0) AwaitTurn(group, 256);
    WgmmaFence();
  }
  static __device__ __forceinline__ void EndScores() {
    const int group = Warp() / 4;
    WgmmaCommit();
    if (group + 1 < kThreads / 128) PassTurn(group + 1, 256);
  }

  template <int kRows, int kN>
  static __device__ __forceinline__ void IssueScores(float (&s)[kN][4], const T* rows, const T* columns) {
    const auto a = KMajor(rows + Warp() / 4 * (64 * 64)), b = KMajor(columns);
#pragma unroll
    for (int k = 0; k < kD; k += 16) {
      Wgmma<kF16, false>(s, Behind(a, k / 64 * (kRows * 128) + k % 64 * 2),
                         Behind(b, k / 64 * (kN * 8 * 128) + k % 64 * 2), k > 0);
    }
  }
};

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_WGMMA_CUDA_H_
