// What the CUDA attention kernels share: tensors by head, the tile of a ragged batch that a block has, which keys a
// query sees. Only for .cu files.
//
// The host does not know where sequences begin: cu_seqlens are the device's. So a grid has tokens / kRows + sequences
// tiles, enough for any division, and block t finds its sequence itself: sequence n has the tiles from
// cu[n] / kRows + n on, more than it needs by less than two. A block without rows returns.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_CUDA_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tensor/kernels/attention.h"
#include "tensor/kernels/cuda_mma.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

// What every device gives a block of shared memory, less 1 KB for variables: consumer devices (compute capability 8.6,
// 8.9 and 12) have 99 KB, others 163 KB or more.
inline constexpr size_t kSmallSharedMemory = 98 << 10;

// Whether a block may have so much, and 1 KB of variables, on this device.
inline bool FitsSharedMemory(size_t bytes) {
  static const int limit = [] {
    int most = 0;
    return cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0) == cudaSuccess ? most : 0;
  }();
  return bytes + 1024 <= static_cast<size_t>(limit);
}

void CudaAttentionGrad(View dy, View q, View k, View v, View y, View lse, const AttentionParams& params, View dq,
                       View dk, View dv, LaunchContext context);

// Whether a batch is of so few queries a sequence that keys are what there is to divide, as in generation.
inline bool FitsDecode(const View& q, const AttentionParams& params) {
  return q.dims[0] <= 2 * (params.cu_seqlens_q.dims[0] - 1);
}
void CudaAttentionDecode(View q, View k, View v, const AttentionParams& params, View y, View lse,
                         LaunchContext context);

// A tensor [tokens, heads, d].
template <typename T>
struct HeadView {
  T* data;
  int64_t token, head, column;  // strides in elements
  int32_t heads, d;
  bool vector;  // every head of every token begins at a multiple of 16 bytes and is contiguous

  // The rows of one sequence in one head.
  __device__ TileSource<T> Rows(int64_t begin, int64_t rows, int64_t which) const {
    return {.data = data + begin * token + which * head,
            .rows = rows,
            .columns = d,
            .row_stride = token,
            .column_stride = column,
            .vector = vector};
  }
};

template <typename T>
HeadView<T> HeadsOf(const View& v) {
  constexpr int64_t kPack = TileSource<T>::kPack;
  return {.data = v.ptr<T>(),
          .token = v.strides[0],
          .head = v.strides[1],
          .column = v.strides[2],
          .heads = static_cast<int32_t>(v.dims[1]),
          .d = static_cast<int32_t>(v.dims[2]),
          .vector = v.strides[2] == 1 && v.strides[0] % kPack == 0 && v.strides[1] % kPack == 0 &&
                    reinterpret_cast<uintptr_t>(v.data) % kPackBytes == 0};
}

// One number per token and head.
struct RowView {
  float* data;
  int64_t token, head;

  __device__ float& at(int64_t t, int64_t h) const { return data[t * token + h * head]; }
};

struct Batch {
  const int32_t *cu_q, *cu_k;
  int64_t stride_q, stride_k;
  int32_t sequences;
  bool causal;
  int32_t window;  // 0: none
  float scale, softcap;
};

inline Batch BatchOf(const AttentionParams& p) {
  constexpr int64_t kWide = int64_t{1} << 30;  // wider than any sequence
  return {.cu_q = p.cu_seqlens_q.ptr<const int32_t>(),
          .cu_k = p.cu_seqlens_k.ptr<const int32_t>(),
          .stride_q = p.cu_seqlens_q.strides[0],
          .stride_k = p.cu_seqlens_k.strides[0],
          .sequences = static_cast<int32_t>(p.cu_seqlens_q.dims[0] - 1),
          .causal = p.causal,
          .window = static_cast<int32_t>(p.window < kWide ? p.window : kWide),
          .scale = p.scale,
          .softcap = p.softcap};
}

inline unsigned TilesFor(int64_t rows, int64_t tile_rows, const Batch& batch) {
  return static_cast<unsigned>(rows / tile_rows + batch.sequences);
}

// attention_mask.h's runs, for tiles of one sequence.
struct TileMask {
  int32_t queries, keys, offset;  // offset: the position of query 0
  bool causal;
  int32_t window;

  // Whether all queries of [q0, q1) see all keys of [k0, k1).
  __device__ bool All(int32_t q0, int32_t q1, int32_t k0, int32_t k1) const {
    if (q1 > queries || k1 > keys || (causal && k1 - 1 > offset + q0)) return false;
    return window == 0 || (offset + q1 - 1 - k0 < window && k1 - 1 - offset - q0 < window);
  }
  struct Run {
    int32_t begin, end;

    __device__ bool Has(int32_t i) const {
      return static_cast<uint32_t>(i - begin) < static_cast<uint32_t>(end - begin);
    }
    __device__ Run From(int32_t first) const { return {begin - first, end - first}; }  // counted from there on
  };
  static __device__ Run Clamped(int32_t begin, int32_t end, int32_t size) {
    begin = begin < 0 ? 0 : begin;
    end = end > size ? size : end;
    return {begin, end < begin ? begin : end};
  }
  // What some query of [q0, q1) sees.
  __device__ Run Keys(int32_t q0, int32_t q1) const {
    q1 = q1 > queries ? queries : q1;
    int32_t end = causal ? offset + q1 : keys;
    if (window > 0 && offset + q1 - 1 + window < end) end = offset + q1 - 1 + window;
    return Clamped(window > 0 ? offset + q0 - window + 1 : 0, end, keys);
  }
  // What sees some key of [k0, k1).
  __device__ Run Queries(int32_t k0, int32_t k1) const {
    k1 = k1 > keys ? keys : k1;
    int32_t begin = causal ? k0 - offset : 0;
    if (window > 0 && k0 - window + 1 - offset > begin) begin = k0 - window + 1 - offset;
    return Clamped(begin, window > 0 ? k1 - 1 + window - offset : queries, queries);
  }
};

// The sequence of a tile of rows (queries, or keys), and the tile's first row in it; rows == 0: there are none.
struct TilePlace {
  int32_t q_begin, k_begin, first, rows;
  TileMask mask;
};

template <int kRows>
__device__ inline TilePlace FindTile(const Batch& b, bool of_keys, int32_t tile) {
  const int32_t* cu = of_keys ? b.cu_k : b.cu_q;
  const int64_t stride = of_keys ? b.stride_k : b.stride_q;
  int32_t low = 0, high = b.sequences - 1;  // the last sequence that begins at or before this tile
  while (low < high) {
    const int32_t middle = (low + high + 1) / 2;
    if (cu[middle * stride] / kRows + middle <= tile) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  TilePlace place{
      .q_begin = b.cu_q[low * b.stride_q], .k_begin = b.cu_k[low * b.stride_k], .first = 0, .rows = 0, .mask = {}};
  const int32_t queries = b.cu_q[(low + 1) * b.stride_q] - place.q_begin;
  const int32_t keys = b.cu_k[(low + 1) * b.stride_k] - place.k_begin;
  place.mask = {.queries = queries, .keys = keys, .offset = keys - queries, .causal = b.causal, .window = b.window};
  place.first = (tile - cu[low * stride] / kRows - low) * kRows;
  const int32_t left = (of_keys ? keys : queries) - place.first;
  place.rows = left < 0 ? 0 : left < kRows ? left : kRows;
  return place;
}

// f with the narrowest of the kernels' widths that holds d columns, as a constant.
template <typename F>
void DispatchHeadDim(int64_t d, F f) {
  if (d <= 64) return f(std::integral_constant<int, 64>{});
  if (d <= 96) return f(std::integral_constant<int, 96>{});
  if (d <= 128) return f(std::integral_constant<int, 128>{});
  if (d <= 256) return f(std::integral_constant<int, 256>{});
  std::fprintf(stderr, "CUDA attention: heads of %lld, expected 256 at most\n", static_cast<long long>(d));
  std::abort();
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_CUDA_H_
