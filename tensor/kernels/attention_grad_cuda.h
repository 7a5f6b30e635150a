// Attention, backward: one kernel, seen from both sides. A block has rows of one kind and walks over tiles of the
// other:
//
//   GradOf::kQueries   rows q and dy, columns k and v:   s = q*k^T,  dp = dy*v^T,  dq += ds * k
//   GradOf::kKeys      rows k and v, columns q and dy:   s = k*q^T,  dp = v*dy^T,  dk += ds * q,  dv += p * dy
//
// so that every gradient is added up by one warp, in order, without atomics: equal inputs, equal bits. The price is
// that s and dp are computed twice, 7 tile products where a walk with atomics has 5. The heads of a group follow one
// another within a block, so dk and dv are whole. Where registers do not hold dk and dv at a time, kOnlyKeys and
// kOnlyValues walk one after the other. One file per dtype instantiates GradFor, so that they compile side by side.
// Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_GRAD_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_GRAD_CUDA_H_

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_tile_cuda.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/launch.h"
#include "third_party/cuda/mma.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

template <typename T>
struct GradArgs {
  HeadView<T> dy, q, k, v, dq, dk, dv;
  RowView lse, delta;  // delta: dy.y of each row
  Batch batch;
  int64_t tokens, ctx;
};

// By warpgroups, where the device has them and the shape suits them; else false.
bool WgmmaGrad(const GradArgs<bf16>& args, LaunchContext context);
bool WgmmaGrad(const GradArgs<f16>& args, LaunchContext context);

void GradF32(const GradArgs<float>& args, LaunchContext context);
void GradBF16(const GradArgs<bf16>& args, LaunchContext context);
void GradF16(const GradArgs<f16>& args, LaunchContext context);

enum class GradOf { kQueries, kKeys, kOnlyKeys, kOnlyValues };

// What a walk is about.
template <GradOf kOf>
struct GradKind {
  static constexpr bool kByQuery = kOf == GradOf::kQueries;
  static constexpr bool kHasScores = kOf != GradOf::kOnlyValues;                          // ds, so dq or dk
  static constexpr bool kHasValues = kOf == GradOf::kKeys || kOf == GradOf::kOnlyValues;  // dv
};

// kSmall: within the shared memory of a consumer device. Most shapes are so anyway.
template <typename T, int kD, GradOf kOf, bool kSmall>
struct GradShape : GradKind<kOf> {
  static constexpr bool kByQuery = GradKind<kOf>::kByQuery;
  static constexpr int kRowBytes = kD * static_cast<int>(sizeof(T));
  static constexpr int kWarps = kRowBytes <= 384 ? 4 : kRowBytes <= 512 ? 3 : 1, kThreads = 32 * kWarps;
  static constexpr int kM = sizeof(T) == 2 && kD <= (kByQuery ? 128 : 64) ? 2 : 1;
  static constexpr int kRows = 16 * kM * kWarps;
  static constexpr bool kFewColumns = kRowBytes >= 384 || (kM == 2 && kD == 128 && kSmall);
  static constexpr int kColumns = kFewColumns ? 16 : sizeof(T) == 2 && kM == 1 && kD <= 96 ? 64 : 32;
  using Tiles = MmaTiles<T, kD, kThreads>;
  // Two tiles of rows, two stages of two tiles of columns, two stages of two numbers per column.
  static constexpr size_t kShared =
      sizeof(T) * TilePitch<T>(kD) * (2 * kRows + 4 * kColumns) + sizeof(float) * 4 * kColumns;
  static_assert(!kSmall || kShared <= kSmallSharedMemory);
};

// A query's part in p and ds.
struct QueryStats {
  float lse, delta;  // lse in units of log 2
};

template <typename T>
__device__ __forceinline__ QueryStats StatsOf(const GradArgs<T>& args, const TilePlace& place, int query, int head) {
  if (query >= place.mask.queries) return {0, 0};
  const int64_t token = place.q_begin + query;
  return {args.lse.at(token, head) * kLog2E, args.delta.at(token, head)};
}

// q.k becomes p, and dp ds: the gradient with respect to scale * q.k.
template <bool kSoftcap>
__device__ __forceinline__ void ToWeight(const Batch& b, const QueryStats& query, float& qk, float& dp) {
  if constexpr (kSoftcap) {
    const float t = tanhf(qk * (b.scale / b.softcap));
    qk = Exp2Approx(fmaf(t, b.softcap * kLog2E, -query.lse));
    dp = qk * (dp - query.delta) * (1 - t * t);
  } else {
    qk = Exp2Approx(fmaf(qk, b.scale * kLog2E, -query.lse));
    dp = qk * (dp - query.delta);
  }
}

template <typename S, bool kSoftcap, int kM, int kN, typename ColumnStats>
__device__ __forceinline__ void ToWeightsUnmasked(const Batch& b, const QueryStats (&rows)[kM][2],
                                                  const ColumnStats& columns, float (&s)[kM][kN][4],
                                                  float (&dp)[kM][kN][4]) {
#pragma unroll
  for (int n = 0; n < kN; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      QueryStats stats{};
      if constexpr (!S::kByQuery) stats = columns(8 * n + 2 * (Lane() % 4) + e);
#pragma unroll
      for (int i = 0; i < 2 * kM; ++i) {
        if constexpr (S::kByQuery) stats = rows[i / 2][i % 2];
        ToWeight<kSoftcap>(b, stats, s[i / 2][n][i % 2 * 2 + e], dp[i / 2][n][i % 2 * 2 + e]);
      }
    }
  }
}

// s and dp become p and ds; what is not seen becomes 0, whatever it was. row0 and column0: of the warp's tile, in the
// sequence.
template <typename S, int kM, int kN, typename ColumnStats>
__device__ __forceinline__ void ToWeights(const Batch& b, const TileMask& mask, bool whole, int row0, int column0,
                                          const QueryStats (&rows)[kM][2], const ColumnStats& columns,
                                          float (&s)[kM][kN][4], float (&dp)[kM][kN][4]) {
  if (b.softcap > 0) {
    ToWeightsUnmasked<S, true>(b, rows, columns, s, dp);
  } else {
    ToWeightsUnmasked<S, false>(b, rows, columns, s, dp);
  }
  if (whole) return;
#pragma unroll
  for (int i = 0; i < 2 * kM; ++i) {
    const int row = row0 + 8 * i + Lane() / 4;
    const TileMask::Run run = (S::kByQuery ? mask.Keys(row, row + 1) : mask.Queries(row, row + 1)).From(column0);
#pragma unroll
    for (int j = 0; j < 2 * kN; ++j) {
      const int n = j / 2, k = i % 2 * 2 + j % 2;
      if (!run.Has(8 * n + 2 * (Lane() % 4) + j % 2)) s[i / 2][n][k] = dp[i / 2][n][k] = 0;
    }
  }
}

// A block's rows and the columns that it walks over.
template <typename T, typename S>
struct GradWalk {
  using Tiles = typename S::Tiles;
  static constexpr int kRowTile = Tiles::template kElements<S::kRows>, kTile = Tiles::template kElements<S::kColumns>;
  const GradArgs<T>& args;
  const TilePlace& place;
  TileMask::Run run;  // columns that some row sees, or is seen by
  int32_t tiles;      // of them, a head
  int head0;          // the first of the heads walked over
  T* shared;

  __device__ T* rows() const { return shared; }
  __device__ T* columns(int stage) const { return shared + 2 * kRowTile + 2 * stage * kTile; }
  __device__ float* stats(int stage) const { return reinterpret_cast<float*>(columns(2)) + 2 * stage * S::kColumns; }
  __device__ int32_t column(int32_t step) const { return run.begin + step % tiles * S::kColumns; }

  // Whether each of these rows sees, or is seen by, every column of a tile.
  __device__ bool Whole(int32_t row, int32_t count, int32_t column) const {
    const int32_t wide = S::kColumns;
    return S::kByQuery ? place.mask.All(row, row + count, column, column + wide)
                       : place.mask.All(column, column + wide, row, row + count);
  }

  __device__ TileSource<T> OfQueries(const HeadView<T>& x, int head) const {
    return x.Rows(place.q_begin, place.mask.queries, head);
  }
  __device__ TileSource<T> OfKeys(const HeadView<T>& x, int kv) const {
    return x.Rows(place.k_begin, place.mask.keys, kv);
  }

  __device__ void LoadRows(int kv) const {
    const TileSource<T> first = S::kByQuery ? OfQueries(args.q, head0) : OfKeys(args.k, kv);
    Tiles::template Load<S::kRows>(shared, first, place.first);
    if constexpr (!S::kHasScores) return;
    const TileSource<T> second = S::kByQuery ? OfQueries(args.dy, head0) : OfKeys(args.v, kv);
    Tiles::template Load<S::kRows>(shared + kRowTile, second, place.first);
  }

  __device__ void LoadColumns(int32_t step, int stage, int kv) const {
    const int head = head0 + step / tiles;
    const TileSource<T> first = S::kByQuery ? OfKeys(args.k, kv) : OfQueries(args.q, head);
    const TileSource<T> second = S::kByQuery ? OfKeys(args.v, kv) : OfQueries(args.dy, head);
    Tiles::template Load<S::kColumns>(columns(stage), first, column(step));
    Tiles::template Load<S::kColumns>(columns(stage) + kTile, second, column(step));
    if constexpr (S::kByQuery) return;
    const int i = static_cast<int>(threadIdx.x);
    if (i >= S::kColumns) return;
    const QueryStats q = StatsOf(args, place, column(step) + i, head);
    stats(stage)[i] = q.lse;
    stats(stage)[S::kColumns + i] = q.delta;
  }
};

template <typename T, int kD, int kM>
__device__ __forceinline__ void StoreGrad(const float (&sums)[kM][kD / 8][4], float scale, T* tile,
                                          const HeadView<T>& out, const TilePlace& place, int64_t begin, int head) {
  const int row0 = Warp() * 16 * kM, count = place.rows - row0;
  const int64_t token0 = begin + place.first + row0;
  float factor[kM][2];
  for (int m = 0; m < kM; ++m) factor[m][0] = factor[m][1] = scale;
  StoreRows<T, kD>(sums, factor, tile + row0 * TilePitch<T>(kD), out.data + token0 * out.token + head * out.head,
                   out.Rows(token0, count, head), count < 16 * kM ? count : 16 * kM);
}

// S is GradKind and has kThreads, kM, kRows, kColumns, Tiles and kShared, as GradShape.
template <typename T, int kD, typename S>
__global__ void __launch_bounds__((S::kThreads)) GradKernel(GradArgs<T> args) {
  using Tiles = typename S::Tiles;
  CUDA_DYNAMIC_SHARED(T, unaligned);
  // The longest walks first: late queries see many keys, early keys are seen by many queries.
  const unsigned tile = S::kByQuery ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  const TilePlace place = FindTile<S::kRows>(args.batch, !S::kByQuery, static_cast<int32_t>(tile));
  if (place.rows == 0) return;
  const int group = args.q.heads / args.k.heads, y = static_cast<int>(blockIdx.y), kv = S::kByQuery ? y / group : y;
  const int32_t end = place.first + place.rows;
  const TileMask::Run run = S::kByQuery ? place.mask.Keys(place.first, end) : place.mask.Queries(place.first, end);
  const int32_t tiles = (run.end - run.begin + S::kColumns - 1) / S::kColumns;
  const int32_t steps = tiles * (S::kByQuery ? 1 : group);
  const GradWalk<T, S> walk{
      args, place, run, tiles, S::kByQuery ? y : kv * group, AlignedTo<Tiles::kAlignment>(unaligned)};
  walk.LoadRows(kv);
  if (steps > 0) walk.LoadColumns(0, 0, kv);
  CommitCopies();

  const int row0 = Warp() * 16 * S::kM;
  QueryStats row_stats[S::kM][2] = {};
  if constexpr (S::kByQuery) {
    for (int m = 0; m < S::kM; ++m) {
      for (int h = 0; h < 2; ++h) {
        row_stats[m][h] = StatsOf(args, place, place.first + row0 + 16 * m + 8 * h + Lane() / 4, y);
      }
    }
  }
  float from_scores[S::kM][kD / 8][4] = {}, from_values[S::kHasValues ? S::kM : 1][kD / 8][4] = {};
  for (int32_t step = 0; step < steps; ++step) {
    const int stage = step % 2;
    WaitForCopies<0>();
    Tiles::Publish();
    __syncthreads();  // this stage is there, and all are done with the other
    if (step + 1 < steps) walk.LoadColumns(step + 1, stage ^ 1, kv);
    CommitCopies();
    const T* const first = walk.columns(stage);
    const T* const second = first + walk.kTile;
    const float* const stats = walk.stats(stage);
    float s[S::kM][S::kColumns / 8][4], dp[S::kM][S::kColumns / 8][4] = {};
    if constexpr (S::kHasScores) {
      Tiles::template TwoScores<S::kRows>(s, walk.rows(), first, dp, walk.rows() + walk.kRowTile, second);
    } else {
      Tiles::template Scores<S::kRows>(s, walk.rows(), first);
    }
    const int32_t column = walk.column(step), row = place.first + row0;
    const bool whole = walk.Whole(place.first, S::kRows, column);
    ToWeights<S>(
        args.batch, place.mask, whole || walk.Whole(row, 16 * S::kM, column), row, column, row_stats,
        [&](int c) {
          return QueryStats{stats[c], stats[S::kColumns + c]};
        },
        s, dp);
    bool exactly = false;
    if constexpr (sizeof(T) == 2) {
      exactly = !whole && BlockAny<S::kThreads>(Tiles::template SeesNonfinite<S::kColumns>(first) ||
                                                Tiles::template SeesNonfinite<S::kColumns>(second));
    }
    if constexpr (S::kHasValues) Tiles::AddWeighted(from_values, s, second, exactly);
    if constexpr (S::kHasScores) Tiles::AddWeighted(from_scores, dp, first, exactly);
  }
  WaitForCopies<0>();
  __syncthreads();  // all are done with the tiles, where the gradients go through

  if constexpr (S::kByQuery) {
    StoreGrad<T, kD>(from_scores, args.batch.scale, walk.rows(), args.dq, place, place.q_begin, y);
  } else if constexpr (S::kHasScores) {
    StoreGrad<T, kD>(from_scores, args.batch.scale, walk.rows(), args.dk, place, place.k_begin, kv);
  }
  if constexpr (S::kHasValues) {
    StoreGrad<T, kD>(from_values, 1.0f, walk.rows() + S::kRows * TilePitch<T>(kD), args.dv, place, place.k_begin, kv);
  }
}

template <typename T, int kD, typename S>
void LaunchGrad(const GradArgs<T>& args, LaunchContext context) {
  static_assert(sizeof(T) * 2 * S::kRows * TilePitch<T>(kD) <= S::kShared);  // the gradients' way to memory
  const int64_t rows = S::kByQuery ? args.tokens : args.ctx;
  if (rows == 0) return;
  const auto kernel = GradKernel<T, kD, S>;
  CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(S::kShared)),
            "attention_grad");
  const dim3 grid(TilesFor(rows, S::kRows, args.batch),
                  static_cast<unsigned>(S::kByQuery ? args.q.heads : args.k.heads));
  CheckCuda(Launch(kernel, grid, S::kThreads, S::kShared, StreamOf(context), args), "attention_grad");
}

template <typename T, int kD, GradOf kOf>
void RunGrad(const GradArgs<T>& args, LaunchContext context) {
  using Large = GradShape<T, kD, kOf, false>;
  using Small = GradShape<T, kD, kOf, true>;
  if constexpr (Large::kShared != Small::kShared) {
    if (FitsSharedMemory(Large::kShared)) return LaunchGrad<T, kD, Large>(args, context);
  }
  LaunchGrad<T, kD, Small>(args, context);
}

template <typename T>
void GradFor(const GradArgs<T>& args, LaunchContext context) {
  DispatchHeadDim(args.q.d, [&]<int kD>(std::integral_constant<int, kD>) {
    RunGrad<T, kD, GradOf::kQueries>(args, context);
    if constexpr (kD <= 128) {
      RunGrad<T, kD, GradOf::kKeys>(args, context);
    } else {
      RunGrad<T, kD, GradOf::kOnlyKeys>(args, context);
      RunGrad<T, kD, GradOf::kOnlyValues>(args, context);
    }
  });
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_GRAD_CUDA_H_
