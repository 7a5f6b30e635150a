// Tile products of the CUDA attention kernels. A block has kM * 16 rows per warp and goes over tiles of columns; sums
// lie in the lanes as mma's results do (third_party/cuda/mma.h). Only for .cu files.
//
//   using Tiles = MmaTiles<T, kD, kThreads>;     // or WgmmaTiles (attention_wgmma_cuda.h): the same functions
//   Tiles::Load<kRows>(tile, source, row0);  CommitCopies();  ...  WaitForCopies<0>();  Tiles::Publish();  barrier
//   Tiles::Scores<kRows>(s, rows, columns);      // s [kM][kN][4] = rows * columns^T        over the head dimension
//   Tiles::AddWeighted(y, s, columns, exactly);  // y [kM][kD / 8][4] += s * columns        over the columns
//   StoreRows<T, kD>(y, factor, tile, out, ...);
//
// 16-bit types go through tensor cores, with the weights s rounded to the type; f32 through plain multiplications.
// A weight of 0 times a NaN is NaN, so a tile with masked pairs and something that is not finite in it is multiplied by
// AddWeightedExactly, which leaves out what has no weight. f32 always is.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_TILE_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_TILE_CUDA_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tensor/kernels/cuda_mma.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "third_party/cuda/mma.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// Elements from one row of a tile to the next: an odd number of 16 bytes, so that 8 rows lie in different banks.
template <typename T>
constexpr int TilePitch(int d) {
  return d + static_cast<int>(16 / sizeof(T));
}

// The first multiple of kAlignment bytes in shared memory: the compiler promises 16.
template <uintptr_t kAlignment, typename T>
__device__ __forceinline__ T* AlignedTo(T* shared) {
  if constexpr (kAlignment <= 16) return shared;
  const uintptr_t at = reinterpret_cast<uintptr_t>(shared);
  return reinterpret_cast<T*>((at + kAlignment - 1) & ~(kAlignment - 1));
}

// Where a tile has its elements: Chunk is 8 of a row, the c-th.
template <typename T, int kD>
struct PaddedTile {
  const T* data;
  __device__ const T* Chunk(int row, int c) const { return data + row * TilePitch<T>(kD) + 8 * c; }
};

__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % 32; }
__device__ __forceinline__ int Warp() { return static_cast<int>(threadIdx.x) / 32; }

template <typename T, int kD, int kM, int kN>
__device__ __forceinline__ void AddScoresF32(float (&s)[kM][kN][4], const T* rows, const T* columns) {
  constexpr int kPitch = TilePitch<T>(kD);
  const int g = Lane() / 4, t = Lane() % 4;
#pragma unroll 1
  for (int k = 0; k < kD; k += 4) {
    Pack<float> a[kM][2];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      for (int h = 0; h < 2; ++h) a[m][h] = Load<Pack<float>>(rows + (16 * m + 8 * h + g) * kPitch + k);
    }
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      for (int e = 0; e < 2; ++e) {
        const Pack<float> b = Load<Pack<float>>(columns + (8 * n + 2 * t + e) * kPitch + k);
        for (int m = 0; m < kM; ++m) {
          for (int i = 0; i < 4; ++i) {
            s[m][n][e] = fmaf(a[m][0].v[i], b.v[i], s[m][n][e]);
            s[m][n][2 + e] = fmaf(a[m][1].v[i], b.v[i], s[m][n][2 + e]);
          }
        }
      }
    }
  }
}

// rows: the warp's own, kM * 16 of them; columns: kN * 8.
template <typename T, int kD, int kM, int kN>
__device__ __forceinline__ void AddScores(float (&s)[kM][kN][4], const T* rows, const T* columns) {
  if constexpr (sizeof(T) == 4) {
    AddScoresF32<T, kD>(s, rows, columns);
  } else {
    constexpr int kPitch = TilePitch<T>(kD);
#pragma unroll
    for (int k = 0; k < kD; k += 16) {
      uint32_t a[kM][4];
#pragma unroll
      for (int m = 0; m < kM; ++m) LoadA<true, kPitch>(a[m], rows, 16 * m, k);
#pragma unroll
      for (int n = 0; n < kN; n += 2) {
        uint32_t b[4];
        LoadB<true, kPitch>(b, columns, 8 * n, k);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          Mma<T>(s[m][n], a[m], b[0], b[1]);
          Mma<T>(s[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
  }
}

// In f32, column by column; a weight that is 0 adds nothing, whatever it would be multiplied with.
template <int kD, int kM, int kN, typename Tile>
__device__ __forceinline__ void AddWeightedExactly(float (&y)[kM][kD / 8][4], const float (&s)[kM][kN][4],
                                                   const Tile& columns) {
  const int quad = Lane() & ~3, t = Lane() % 4;
#pragma unroll
  for (int n = 0; n < kN; ++n) {
#pragma unroll 1
    for (int j = 0; j < 8; ++j) {
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        const float low = __shfl_sync(kWholeWarp, j % 2 == 0 ? s[m][n][0] : s[m][n][1], quad + j / 2);
        const float high = __shfl_sync(kWholeWarp, j % 2 == 0 ? s[m][n][2] : s[m][n][3], quad + j / 2);
#pragma unroll
        for (int c = 0; c < kD / 8; ++c) {
          for (int e = 0; e < 2; ++e) {
            const float x = static_cast<float>(columns.Chunk(8 * n + j, c)[2 * t + e]);
            if (low != 0) y[m][c][e] = fmaf(low, x, y[m][c][e]);
            if (high != 0) y[m][c][2 + e] = fmaf(high, x, y[m][c][2 + e]);
          }
        }
      }
    }
  }
}

// The same where it hardly ever happens: a function of its own, with copies of its own, so that it takes neither
// registers nor the instruction cache from what happens always.
template <typename T, int kD, int kM, int kN>
__device__ CUDA_NOINLINE void AddCopiesExactly(float (&y)[kM][kD / 8][4], const float (&s)[kM][kN][4],
                                               const T* columns) {
  AddWeightedExactly<kD>(y, s, PaddedTile<T, kD>{columns});
}
template <typename T, int kD, int kM, int kN>
__device__ __forceinline__ void AddWeightedRarely(float (&y)[kM][kD / 8][4], const float (&s)[kM][kN][4],
                                                  const T* columns) {
  float y_copy[kM][kD / 8][4], s_copy[kM][kN][4];
  memcpy(&y_copy, &y, sizeof y);
  memcpy(&s_copy, &s, sizeof s);
  AddCopiesExactly<T, kD>(y_copy, s_copy, columns);
  memcpy(&y, &y_copy, sizeof y);
}

template <typename T, int kD, int kM, int kN>
__device__ __forceinline__ void AddWeighted(float (&y)[kM][kD / 8][4], const float (&s)[kM][kN][4], const T* columns,
                                            bool exactly) {
  if constexpr (sizeof(T) == 4) {
    AddWeightedExactly<kD>(y, s, PaddedTile<T, kD>{columns});
  } else {
    if (exactly) return AddWeightedRarely<T, kD>(y, s, columns);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t a[kM][4];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        for (int i = 0; i < 4; ++i) {
          a[m][i] = PackPair<T>(s[m][n + i / 2][i % 2 * 2], s[m][n + i / 2][i % 2 * 2 + 1]);
        }
      }
#pragma unroll
      for (int c = 0; c < kD / 8; c += 2) {
        uint32_t b[4];
        LoadB<false, TilePitch<T>(kD)>(b, columns, 8 * c, 8 * n);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          Mma<T>(y[m][c], a[m], b[0], b[1]);
          Mma<T>(y[m][c + 1], a[m], b[2], b[3]);
        }
      }
    }
  }
}

// Whether any lane of the block found something. Between two calls there is a barrier besides.
template <int kThreads>
__device__ __forceinline__ bool BlockAny(bool found) {
  CUDA_SHARED(unsigned[32], votes);
  const unsigned vote = __ballot_sync(kWholeWarp, found);
  if (Lane() == 0) votes[Warp()] = vote;
  __syncthreads();
  unsigned all = 0;
  for (int i = 0; i < kThreads / 32; ++i) all |= votes[i];
  return all != 0;
}

// Whether a thread's part of a tile of a 16-bit type has an infinity or a NaN.
template <typename T, int kD, int kRows, int kThreads, typename Tile>
__device__ __forceinline__ bool SeesNonfinite(const Tile& tile) {
  constexpr uint32_t kExponent = std::is_same_v<T, bf16> ? 0x7f80 : 0x7c00;
  bool found = false;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * (kD / 8); i += kThreads) {
    const uint4 bits = *reinterpret_cast<const uint4*>(tile.Chunk(i / (kD / 8), i % (kD / 8)));
    for (uint32_t pair : {bits.x, bits.y, bits.z, bits.w}) {
      found |= (pair & kExponent) == kExponent || (pair >> 16 & kExponent) == kExponent;
    }
  }
  return found;
}

// Rows padded to fall into different banks, multiplied warp by warp (mma), or, f32, by plain multiplications.
template <typename T, int kD, int kThreads>
struct MmaTiles {
  static constexpr uintptr_t kAlignment = 16;
  template <int kRows>
  static constexpr int kElements = kRows* TilePitch<T>(kD);

  template <int kRows>
  static __device__ __forceinline__ void Load(T* tile, const TileSource<T>& x, int64_t row0) {
    LoadTile<kRows, kD, TilePitch<T>(kD), kThreads>(tile, x, row0, 0);
  }
  static __device__ __forceinline__ void Publish() {}

  // kRows: of the block.
  template <int kRows, int kM, int kN>
  static __device__ __forceinline__ void Scores(float (&s)[kM][kN][4], const T* rows, const T* columns) {
#pragma unroll
    for (int i = 0; i < kM * kN * 4; ++i) s[i / (kN * 4)][i / 4 % kN][i % 4] = 0;
    AddScores<T, kD>(s, rows + Warp() * 16 * kM * TilePitch<T>(kD), columns);
  }
  template <int kRows, int kM, int kN>
  static __device__ __forceinline__ void TwoScores(float (&s)[kM][kN][4], const T* rows, const T* columns,
                                                   float (&s2)[kM][kN][4], const T* rows2, const T* columns2) {
    Scores<kRows>(s, rows, columns);
    Scores<kRows>(s2, rows2, columns2);
  }
  template <int kM, int kN>
  static __device__ __forceinline__ void AddWeighted(float (&y)[kM][kD / 8][4], const float (&s)[kM][kN][4],
                                                     const T* columns, bool exactly) {
    internal::AddWeighted<T, kD>(y, s, columns, exactly);
  }
  template <int kRows>
  static __device__ __forceinline__ bool SeesNonfinite(const T* tile) {
    return internal::SeesNonfinite<T, kD, kRows, kThreads>(PaddedTile<T, kD>{tile});
  }
};

// Writes the warp's rows, of which there are `count`, through its part of a tile, so that memory sees whole rows.
// factor[m][h] multiplies row 16 * m + 8 * h + lane / 4.
template <typename T, int kD, int kM>
__device__ __forceinline__ void StoreRows(const float (&y)[kM][kD / 8][4], const float (&factor)[kM][2], T* tile,
                                          T* out, const TileSource<T>& like, int count) {
  constexpr int kPitch = TilePitch<T>(kD), kPack = TileSource<T>::kPack;
  const int g = Lane() / 4, t = Lane() % 4;
  __syncwarp();  // the tile may have been read by other lanes
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int c = 0; c < kD / 8; ++c) {
      for (int i = 0; i < 4; ++i) {
        tile[(16 * m + 8 * (i / 2) + g) * kPitch + 8 * c + 2 * t + i % 2] = T(y[m][c][i] * factor[m][i / 2]);
      }
    }
  }
  __syncwarp();
  for (int i = Lane(); i < count * (kD / kPack); i += 32) {
    const int row = i / (kD / kPack), column = i % (kD / kPack) * kPack;
    const T* from = tile + row * kPitch + column;
    T* to = out + row * like.row_stride + column * like.column_stride;
    if (like.vector && column + kPack <= like.columns) {
      Store(to, Load<Pack<T>>(from));
    } else {
      for (int j = 0; j < kPack && column + j < like.columns; ++j) to[j * like.column_stride] = from[j];
    }
  }
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_TILE_CUDA_H_
