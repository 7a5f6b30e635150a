// Attention, forward: FlashAttention-2's walk over tiles of keys with a running maximum. A warp has whole rows of
// queries, so that softmax needs four lanes; tiles of keys and values are copied while the ones before are multiplied.
// Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_FORWARD_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_FORWARD_CUDA_H_

#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_softmax_cuda.h"
#include "tensor/kernels/attention_tile_cuda.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/launch.h"
#include "third_party/cuda/mma.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

template <typename T>
struct ForwardArgs {
  HeadView<T> q, k, v, y;
  RowView lse;
  Batch batch;
};

// By warpgroups, where the device has them and the shape suits them; else false.
bool WgmmaForward(const ForwardArgs<bf16>& args, int64_t tokens, LaunchContext context);
bool WgmmaForward(const ForwardArgs<f16>& args, int64_t tokens, LaunchContext context);
inline bool WgmmaForward(const ForwardArgs<float>&, int64_t, LaunchContext) { return false; }

template <typename T, int kD, int kM>
__device__ __forceinline__ void FinishForward(const ForwardArgs<T>& args, const TilePlace& place, int head, T* tile,
                                              const Running<kM>& r, const float (&y)[kM][kD / 8][4]) {
  const int row0 = Warp() * 16 * kM, count = place.rows - row0;
  const int64_t token0 = place.q_begin + place.first + row0;
  float factor[kM][2];
  for (int m = 0; m < kM; ++m) {
    for (int h = 0; h < 2; ++h) {
      const float sum = QuadSum(r.sum[m][h]);
      const int row = 16 * m + 8 * h + Lane() / 4;
      factor[m][h] = sum == 0 ? 0 : 1 / sum;
      if (Lane() % 4 == 0 && row < count) args.lse.at(token0 + row, head) = LogOfSum(args.batch, r.max[m][h], sum);
    }
  }
  const TileSource<T> out = args.y.Rows(token0, count, head);
  StoreRows<T, kD>(y, factor, tile + row0 * TilePitch<T>(kD), args.y.data + token0 * args.y.token + head * args.y.head,
                   out, count < 16 * kM ? count : 16 * kM);
}

// S has kWarps, kM, kRows = 16 * kM * kWarps, kColumns, Tiles, and kShared bytes: for the rows, and two stages of keys
// and values.
template <typename T, int kD, typename S>
__global__ void __launch_bounds__((32 * S::kWarps)) ForwardKernel(ForwardArgs<T> args) {
  using Tiles = typename S::Tiles;
  constexpr int kThreads = 32 * S::kWarps, kTile = Tiles::template kElements<S::kColumns>;
  CUDA_DYNAMIC_SHARED(T, unaligned);
  T* const shared = AlignedTo<Tiles::kAlignment>(unaligned);
  // Later queries see more keys under a causal mask: they begin first.
  const TilePlace place = FindTile<S::kRows>(args.batch, false, static_cast<int32_t>(gridDim.x - 1 - blockIdx.x));
  if (place.rows == 0) return;
  const int head = static_cast<int>(blockIdx.y), kv = head * args.k.heads / args.q.heads;
  const TileSource<T> q = args.q.Rows(place.q_begin, place.mask.queries, head);
  const TileSource<T> k = args.k.Rows(place.k_begin, place.mask.keys, kv);
  const TileSource<T> v = args.v.Rows(place.k_begin, place.mask.keys, kv);
  const TileMask::Run keys = place.mask.Keys(place.first, place.first + place.rows);

  T* const stages = shared + Tiles::template kElements<S::kRows>;
  const auto load = [&](int32_t key, int stage) {
    if (key < keys.end) {
      Tiles::template Load<S::kColumns>(stages + 2 * stage * kTile, k, key);
      Tiles::template Load<S::kColumns>(stages + (2 * stage + 1) * kTile, v, key);
    }
    CommitCopies();
  };
  Tiles::template Load<S::kRows>(shared, q, place.first);
  load(keys.begin, 0);

  const float factor = ScoreFactor(args.batch);
  const int32_t query = place.first + Warp() * 16 * S::kM;  // this warp's first
  Running<S::kM> running;
  float y[S::kM][kD / 8][4] = {};
  int stage = 0;
  for (int32_t key = keys.begin; key < keys.end; key += S::kColumns, stage ^= 1) {
    WaitForCopies<0>();
    Tiles::Publish();
    __syncthreads();  // this stage is there, and all are done with the other
    load(key + S::kColumns, stage ^ 1);
    const T* const k_tile = stages + 2 * stage * kTile;
    const T* const v_tile = k_tile + kTile;
    float s[S::kM][S::kColumns / 8][4];
    Tiles::template Scores<S::kRows>(s, shared, k_tile);
    const bool whole = place.mask.All(place.first, place.first + S::kRows, key, key + S::kColumns);
    const bool mine = whole || place.mask.All(query, query + 16 * S::kM, key, key + S::kColumns);
    ToScores(s, args.batch, mine, [&](int i) { return place.mask.Keys(query + i, query + i + 1).From(key); });
    ToWeights<kD>(s, factor, &running, y);
    bool exactly = false;
    if constexpr (sizeof(T) == 2) {
      exactly = !whole && BlockAny<kThreads>(Tiles::template SeesNonfinite<S::kColumns>(v_tile));
    }
    Tiles::AddWeighted(y, s, v_tile, exactly);
  }
  WaitForCopies<0>();
  __syncthreads();  // all are done with the tiles, where the rows of y go through
  FinishForward<T, kD>(args, place, head, shared, running, y);
}

template <typename T, int kD, typename S>
void LaunchForward(const ForwardArgs<T>& args, int64_t tokens, LaunchContext context) {
  const auto kernel = ForwardKernel<T, kD, S>;
  CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(S::kShared)),
            "attention");
  const dim3 grid(TilesFor(tokens, S::kRows, args.batch), static_cast<unsigned>(args.q.heads));
  CheckCuda(Launch(kernel, grid, 32 * S::kWarps, S::kShared, StreamOf(context), args), "attention");
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_FORWARD_CUDA_H_
