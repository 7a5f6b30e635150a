// Attention of few queries over many keys, as in generation: keys are read once, and that is the time it takes, so they
// are divided over as many blocks as keep the device busy. A block is one warp; its rows are the heads of a group,
// which share their keys, of one query. It walks over its part of the keys and leaves its sums in scratch; a second
// kernel adds up the parts, in order.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_softmax_cuda.h"
#include "tensor/kernels/attention_tile_cuda.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/mma.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

constexpr int kRows = 16, kThreads = 32;
constexpr int64_t kBlocks =
    1024;  // several for every multiprocessor; not the device's number, on which bits would depend
constexpr int64_t kKeysPerPart = 128, kMostParts = 64;

template <typename T, int kD>
struct DecodeShape {
  static constexpr int kColumns = kD <= 128 ? 32 : 16;
  static constexpr int kPitch = TilePitch<T>(kD);
  static constexpr size_t kShared = sizeof(T) * kPitch * (kRows + 4 * kColumns);
};

// A part's result for every token and head: sums of weighted values, not yet divided, the maximum in units of log 2,
// and the sum of weights.
struct Parts {
  float *y, *max, *sum;
  int64_t tokens, heads, d;
  int32_t count;

  __device__ int64_t at(int64_t part, int64_t token, int64_t head) const {
    return (part * tokens + token) * heads + head;
  }
};

template <typename T>
struct DecodeArgs {
  HeadView<T> q, k, v, y;
  RowView lse;
  Batch batch;
  Parts parts;
};

template <int kD>
__device__ __forceinline__ void StorePart(const Parts& parts, int part, int64_t token, int head0, int count,
                                          float factor, const Running<1>& running, const float (&y)[1][kD / 8][4]) {
  for (int h = 0; h < 2; ++h) {
    const int row = 8 * h + Lane() / 4;
    const float sum = QuadSum(running.sum[0][h]);
    if (row >= count) continue;
    const int64_t at = parts.at(part, token, head0 + row);
    if (Lane() % 4 == 0) {
      parts.max[at] = running.max[0][h] * factor;
      parts.sum[at] = sum;
    }
    for (int c = 0; c < kD / 8; ++c) {
      for (int e = 0; e < 2; ++e) {
        const int column = 8 * c + 2 * (Lane() % 4) + e;
        if (column < parts.d) parts.y[at * parts.d + column] = y[0][c][2 * h + e];
      }
    }
  }
}

template <typename T, int kD>
__global__ void __launch_bounds__(kThreads) DecodeKernel(DecodeArgs<T> args) {
  using S = DecodeShape<T, kD>;
  CUDA_DYNAMIC_SHARED(T, shared);
  const TilePlace place = FindTile<1>(args.batch, false, static_cast<int32_t>(blockIdx.x));
  if (place.rows == 0) return;
  const int group = args.q.heads / args.k.heads, tiles = (group + kRows - 1) / kRows;
  const int kv = static_cast<int>(blockIdx.y) / tiles, first = static_cast<int>(blockIdx.y) % tiles * kRows;
  const int head0 = kv * group + first, count = group - first < kRows ? group - first : kRows;
  const int64_t token = place.q_begin + place.first;
  const TileSource<T> q{.data = args.q.data + token * args.q.token + head0 * args.q.head,
                        .rows = count,
                        .columns = args.q.d,
                        .row_stride = args.q.head,
                        .column_stride = args.q.column,
                        .vector = args.q.vector};
  const TileSource<T> k = args.k.Rows(place.k_begin, place.mask.keys, kv);
  const TileSource<T> v = args.v.Rows(place.k_begin, place.mask.keys, kv);

  // Whole tiles of the keys that the query sees, divided evenly.
  const TileMask::Run run = place.mask.Keys(place.first, place.first + 1);
  const int32_t steps = (run.end - run.begin + S::kColumns - 1) / S::kColumns;
  const int32_t each = (steps + args.parts.count - 1) / args.parts.count, part = static_cast<int32_t>(blockIdx.z);
  const int32_t begin = run.begin + part * each * S::kColumns;
  const int32_t end = run.end < begin + each * S::kColumns ? run.end : begin + each * S::kColumns;

  T* const stages = shared + kRows * S::kPitch;
  constexpr int kTile = S::kColumns * S::kPitch;
  const auto load = [&](int32_t key, int stage) {
    if (key < end) {
      LoadTile<S::kColumns, kD, S::kPitch, kThreads>(stages + 2 * stage * kTile, k, key, 0);
      LoadTile<S::kColumns, kD, S::kPitch, kThreads>(stages + (2 * stage + 1) * kTile, v, key, 0);
    }
    CommitCopies();
  };
  LoadTile<kRows, kD, S::kPitch, kThreads>(shared, q, 0, 0);
  load(begin, 0);
  const float factor = ScoreFactor(args.batch);
  Running<1> running;
  float y[1][kD / 8][4] = {};
  int stage = 0;
  for (int32_t key = begin; key < end; key += S::kColumns, stage ^= 1) {
    load(key + S::kColumns, stage ^ 1);
    WaitForCopies<1>();
    __syncthreads();
    const T* const k_tile = stages + 2 * stage * kTile;
    float s[1][S::kColumns / 8][4] = {};
    AddScores<T, kD>(s, shared, k_tile);
    const bool whole = place.mask.All(place.first, place.first + 1, key, key + S::kColumns);
    ToScores(s, args.batch, whole, [&](int) { return place.mask.Keys(place.first, place.first + 1).From(key); });
    ToWeights<kD>(s, factor, &running, y);
    bool exactly = false;
    if constexpr (sizeof(T) == 2) {
      exactly =
          !whole && BlockAny<kThreads>(MmaTiles<T, kD, kThreads>::template SeesNonfinite<S::kColumns>(k_tile + kTile));
    }
    AddWeighted<T, kD>(y, s, k_tile + kTile, exactly);
    __syncthreads();  // all are done with this stage before it is filled again
  }
  WaitForCopies<0>();
  StorePart<kD>(args.parts, part, token, head0, count, factor, running, y);
}

// A warp for each token and head.
template <typename T>
__global__ void __launch_bounds__(kBlockThreads) CombineKernel(Parts parts, HeadView<T> y, RowView lse) {
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x) / 32;
  if (row >= parts.tokens * parts.heads) return;
  const int64_t token = row / parts.heads, head = row % parts.heads;
  float max = kNegInf;
  for (int p = 0; p < parts.count; ++p) max = fmaxf(max, parts.max[parts.at(p, token, head)]);
  const float base = max == kNegInf ? 0 : max;
  float sum = 0;
  for (int p = 0; p < parts.count; ++p) {
    const int64_t at = parts.at(p, token, head);
    sum = fmaf(parts.sum[at], Exp2Approx(parts.max[at] - base), sum);
  }
  for (int64_t c = Lane(); c < parts.d; c += 32) {
    float total = 0;
    for (int p = 0; p < parts.count; ++p) {
      const int64_t at = parts.at(p, token, head);
      total = fmaf(parts.y[at * parts.d + c], Exp2Approx(parts.max[at] - base), total);
    }
    y.data[token * y.token + head * y.head + c * y.column] = T(sum == 0 ? 0.0f : total / sum);
  }
  if (Lane() == 0) lse.at(token, head) = (max + log2f(sum)) * kLn2;
}

Parts PartsFor(const View& q, const View& k, int64_t sequences) {
  const int64_t tokens = q.dims[0], heads = q.dims[1], d = q.dims[2], rows = tokens * heads;
  const int64_t group = heads / k.dims[1], blocks = tokens * k.dims[1] * ((group + kRows - 1) / kRows);
  const int64_t useful = (k.dims[0] / sequences + kKeysPerPart - 1) / kKeysPerPart;
  const int64_t count = std::clamp<int64_t>(std::min(kBlocks / blocks, useful), 1, kMostParts);
  float* scratch = static_cast<float*>(
      CudaScratch(kCudaScratchAttention, static_cast<size_t>(count * rows * (d + 2)) * sizeof(float)));
  return {.y = scratch,
          .max = scratch + count * rows * d,
          .sum = scratch + count * rows * (d + 1),
          .tokens = tokens,
          .heads = heads,
          .d = d,
          .count = static_cast<int32_t>(count)};
}

template <typename T, int kD>
void Run(const DecodeArgs<T>& args, LaunchContext context) {
  using S = DecodeShape<T, kD>;
  const auto kernel = DecodeKernel<T, kD>;
  CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(S::kShared)),
            "attention");
  const int group = args.q.heads / args.k.heads;
  const dim3 grid(TilesFor(args.parts.tokens, 1, args.batch),
                  static_cast<unsigned>(args.k.heads * ((group + kRows - 1) / kRows)),
                  static_cast<unsigned>(args.parts.count));
  CheckCuda(Launch(kernel, grid, kThreads, S::kShared, StreamOf(context), args), "attention");
  const int64_t rows = args.parts.tokens * args.parts.heads;
  const unsigned blocks = static_cast<unsigned>((rows + kBlockThreads / 32 - 1) / (kBlockThreads / 32));
  CheckCuda(Launch(CombineKernel<T>, blocks, kBlockThreads, 0, StreamOf(context), args.parts, args.y, args.lse),
            "attention");
}

}  // namespace

void CudaAttentionDecode(View q, View k, View v, const AttentionParams& params, View y, View lse,
                         LaunchContext context) {
  DispatchFloat(q.dtype, "attention", [&]<typename T>(T) {
    const Batch batch = BatchOf(params);
    const DecodeArgs<T> args{.q = HeadsOf<T>(q),
                             .k = HeadsOf<T>(k),
                             .v = HeadsOf<T>(v),
                             .y = HeadsOf<T>(y),
                             .lse = {lse.ptr<float>(), lse.strides[0], lse.strides[1]},
                             .batch = batch,
                             .parts = PartsFor(q, k, batch.sequences)};
    DispatchHeadDim(q.dims[2], [&]<int kD>(std::integral_constant<int, kD>) { Run<T, kD>(args, context); });
  });
}

}  // namespace lorikeet::internal
