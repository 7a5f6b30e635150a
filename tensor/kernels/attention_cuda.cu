// Attention, forward: FlashAttention-2's walk over tiles of keys with a running maximum. A warp has whole rows of
// queries, so that softmax needs four lanes; tiles of keys and values are copied while the ones before are multiplied.
#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_softmax_cuda.h"
#include "tensor/kernels/attention_tile_cuda.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/mma.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace internal {
namespace {

// 32 queries a warp read every fragment of keys for twice the work of 16, where registers allow. kSmall: within the
// shared memory of a consumer device. Most shapes are so anyway.
template <typename T, int kD, bool kSmall>
struct ForwardShape {
  static constexpr int kWarps = sizeof(T) == 4 && kD == 256 ? 2 : 4;
  static constexpr int kM = sizeof(T) == 2 && kD <= 128 ? 2 : 1;
  static constexpr int kRows = 16 * kM * kWarps;
  static constexpr bool kFewColumns = kSmall && (sizeof(T) == 2 ? kD >= 128 : kD == 128);
  static constexpr int kColumns = (sizeof(T) == 2 ? 64 : 32) / (kD <= 128 ? 1 : 2) / (kFewColumns ? 2 : 1);
  static constexpr int kPitch = TilePitch<T>(kD);
  static constexpr size_t kShared = sizeof(T) * kPitch * (kRows + 4 * kColumns);
  static_assert(!kSmall || kShared <= kSmallSharedMemory);
};

template <typename T>
struct ForwardArgs {
  HeadView<T> q, k, v, y;
  RowView lse;
  Batch batch;
};

template <typename T, int kD, int kM>
__device__ __forceinline__ void Finish(const ForwardArgs<T>& args, const TilePlace& place, int head, T* tile,
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
  StoreRows<T, kD>(y, factor, tile, args.y.data + token0 * args.y.token + head * args.y.head, out,
                   count < 16 * kM ? count : 16 * kM);
}

template <typename T, int kD, bool kSmall>
__global__ void __launch_bounds__((32 * ForwardShape<T, kD, kSmall>::kWarps)) ForwardKernel(ForwardArgs<T> args) {
  using S = ForwardShape<T, kD, kSmall>;
  constexpr int kThreads = 32 * S::kWarps;
  CUDA_DYNAMIC_SHARED(T, shared);
  // Later queries see more keys under a causal mask: they begin first.
  const TilePlace place = FindTile<S::kRows>(args.batch, false, static_cast<int32_t>(gridDim.x - 1 - blockIdx.x));
  if (place.rows == 0) return;
  const int head = static_cast<int>(blockIdx.y), kv = head * args.k.heads / args.q.heads;
  const TileSource<T> q = args.q.Rows(place.q_begin, place.mask.queries, head);
  const TileSource<T> k = args.k.Rows(place.k_begin, place.mask.keys, kv);
  const TileSource<T> v = args.v.Rows(place.k_begin, place.mask.keys, kv);
  const TileMask::Run keys = place.mask.Keys(place.first, place.first + place.rows);

  T* const stages = shared + S::kRows * S::kPitch;
  constexpr int kTile = S::kColumns * S::kPitch;
  const auto load = [&](int32_t key, int stage) {
    if (key < keys.end) {
      LoadTile<S::kColumns, kD, S::kPitch, kThreads>(stages + 2 * stage * kTile, k, key, 0);
      LoadTile<S::kColumns, kD, S::kPitch, kThreads>(stages + (2 * stage + 1) * kTile, v, key, 0);
    }
    CommitCopies();
  };
  T* const rows = shared + Warp() * 16 * S::kM * S::kPitch;  // this warp's queries
  LoadTile<S::kRows, kD, S::kPitch, kThreads>(shared, q, place.first, 0);
  load(keys.begin, 0);

  const float factor = ScoreFactor(args.batch);
  Running<S::kM> running;
  float y[S::kM][kD / 8][4] = {};
  int stage = 0;
  for (int32_t key = keys.begin; key < keys.end; key += S::kColumns, stage ^= 1) {
    load(key + S::kColumns, stage ^ 1);
    WaitForCopies<1>();
    __syncthreads();
    const T* const k_tile = stages + 2 * stage * kTile;
    const T* const v_tile = k_tile + kTile;
    float s[S::kM][S::kColumns / 8][4] = {};
    AddScores<T, kD>(s, rows, k_tile);
    const bool whole = place.mask.All(place.first, place.first + S::kRows, key, key + S::kColumns);
    const int32_t query = place.first + Warp() * 16 * S::kM;
    ToScores(s, args.batch, whole, [&](int i) { return place.mask.Keys(query + i, query + i + 1).From(key); });
    ToWeights<kD>(s, factor, &running, y);
    bool exactly = false;
    if constexpr (sizeof(T) == 2) exactly = !whole && HasNonfinite<T, kD, S::kColumns, kThreads>(v_tile);
    AddWeighted<T, kD>(y, s, v_tile, exactly);
    __syncthreads();  // all are done with this stage before it is filled again
  }
  WaitForCopies<0>();
  __syncthreads();  // without keys, nobody has waited for the queries that others copy
  Finish<T, kD>(args, place, head, rows, running, y);
}

template <typename T, int kD, bool kSmall>
void Run(const ForwardArgs<T>& args, int64_t tokens, LaunchContext context) {
  using S = ForwardShape<T, kD, kSmall>;
  if constexpr (!kSmall && S::kShared != ForwardShape<T, kD, true>::kShared) {
    if (!FitsSharedMemory(S::kShared)) return Run<T, kD, true>(args, tokens, context);
  }
  const auto kernel = ForwardKernel<T, kD, kSmall>;
  CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(S::kShared)),
            "attention");
  const dim3 grid(TilesFor(tokens, S::kRows, args.batch), static_cast<unsigned>(args.q.heads));
  CheckCuda(Launch(kernel, grid, 32 * S::kWarps, S::kShared, StreamOf(context), args), "attention");
}

void Attention(View q, View k, View v, const AttentionParams& params, View y, View lse, LaunchContext context) {
  DispatchFloat(q.dtype, "attention", [&]<typename T>(T) {
    if (q.dims[0] == 0) return;
    if (FitsDecode(q, params)) return CudaAttentionDecode(q, k, v, params, y, lse, context);
    const ForwardArgs<T> args{.q = HeadsOf<T>(q),
                              .k = HeadsOf<T>(k),
                              .v = HeadsOf<T>(v),
                              .y = HeadsOf<T>(y),
                              .lse = {lse.ptr<float>(), lse.strides[0], lse.strides[1]},
                              .batch = BatchOf(params)};
    DispatchHeadDim(q.dims[2],
                    [&]<int kD>(std::integral_constant<int, kD>) { Run<T, kD, false>(args, q.dims[0], context); });
  });
}

}  // namespace
}  // namespace internal

extern const AttentionKernels kCudaAttention = {.attention = internal::Attention,
                                                .attention_grad = internal::CudaAttentionGrad};

}  // namespace lorikeet
