// Row-wise kernels: a row of [rows, d] belongs to a group of threads, which keeps it in registers between the passes
// over it, so that memory is read once and written once.
//
//   template <typename T, int kCount, int kKept>
//   __global__ void Normalise(Rows<T> x, Rows<T> y, RowGrid grid) {
//     for (RowLoop loop(grid); loop.More(); loop.Next()) {
//       RowReader<T, kCount, kKept> row(x, loop);
//       float part = 0;
//       ForEachChunk<kKept>(loop, [&](int k, auto c) { ... row.Get(k, c).v[j] ... });
//       const float sum = GroupSum(part);                        // every thread of the group gets it
//       ...
//   const RowPlan plan = PlanRows({x, y});
//   DispatchRow<T>(plan, [&](auto count, auto kept) { Launch(Normalise<T, count(), kept()>, plan.blocks, plan.block,
//                                                            0, stream, RowsOf<T>(x), RowsOf<T>(y), plan.grid); });
//
// A group is a power of two of lanes of one warp, or a whole block of several warps; blockDim.x threads, and
// blockDim.y groups in a block. A thread takes kCount elements at once (16 bytes, or one element where views do not
// allow that) and keeps kKept such chunks; with kKept of 0 rows are too long to be kept, and are read again.
// All threads of a block take part in every step of the loop: those without a row have no chunks. Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_ROW_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_ROW_H_

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr int kMaxRowThreads = 512;
// Chunks that a thread keeps of a long row. More of them are fewer threads, which share the work that every row makes,
// and more bytes on their way at once; kernels that keep sums beside them keep fewer.
inline constexpr int kRowChunks = 4, kFewRowChunks = 2;

template <typename T>
struct Rows {
  T* data;
  int64_t row_stride, stride;

  template <int kCount, typename I>
  __device__ T* At(int64_t row, I chunk) const {
    return data + row * row_stride + (kCount == 1 ? chunk * stride : chunk * kCount);
  }
};

// A view [rows, d]; one of rank 0 becomes null.
template <typename T>
Rows<T> RowsOf(const View& v) {
  return v.rank == 0 ? Rows<T>{nullptr, 0, 0} : Rows<T>{static_cast<T*>(v.data), v.strides[0], v.strides[1]};
}

struct RowGrid {
  int64_t rows, chunks;  // chunks of a row
};

struct RowPlan {
  RowGrid grid;
  unsigned blocks;
  dim3 block;
  bool packs;  // chunks are of 16 bytes
  int kept;    // 1, `most` or, too long to be kept, 0
};

// How to walk the rows of views of the same dims [rows, d] and dtype, some of which may be absent, beside vectors [d];
// `most` chunks of a row to a thread.
template <int most = kRowChunks>
RowPlan PlanRows(std::initializer_list<View> views) {
  const View& x = *views.begin();
  RowPlan plan = {};
  plan.packs = true;
  for (const View& v : views) plan.packs = plan.packs && Vectorisable(v);
  const int64_t count = plan.packs ? kPackBytes / static_cast<int64_t>(SizeOf(x.dtype)) : 1;
  plan.grid = {x.dims[0], x.dims[1] / count};
  const int64_t chunks = plan.grid.chunks;
  plan.kept = !plan.packs || chunks > kMaxRowThreads * most ? 0 : chunks <= 32 ? 1 : most;
  const int64_t each = plan.kept == 0 ? 8 : plan.kept, wanted = (chunks + each - 1) / each;
  unsigned threads = 4;
  while (threads < 32 && threads < wanted) threads *= 2;
  if (wanted > 32) threads = static_cast<unsigned>(wanted < kMaxRowThreads ? (wanted + 31) / 32 * 32 : kMaxRowThreads);
  const unsigned groups = threads > 32 ? 1 : 128 / threads;
  plan.block = dim3(threads, groups);
  const int64_t blocks = (x.dims[0] + groups - 1) / groups;
  plan.blocks = static_cast<unsigned>(blocks < (1 << 20) ? blocks : 1 << 20);
  return plan;
}

// f(count, kept), both std::integral_constant<int, ..>; `most` as the plan has it.
template <typename T, int most = kRowChunks, typename F>
void DispatchRow(const RowPlan& plan, F f) {
  constexpr std::integral_constant<int, static_cast<int>(kPackBytes / sizeof(T))> pack;
  constexpr std::integral_constant<int, most> many;
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, 0> none;
  if (!plan.packs) return f(one, none);
  if (plan.kept == 0) return f(pack, none);
  plan.kept == 1 ? f(pack, one) : f(pack, many);
}

class RowLoop {
 public:
  __device__ explicit RowLoop(const RowGrid& grid)
      : grid_(grid), first_(static_cast<int64_t>(blockIdx.x) * blockDim.y) {}
  __device__ bool More() const { return first_ < grid_.rows; }
  __device__ void Next() { first_ += static_cast<int64_t>(gridDim.x) * blockDim.y; }
  __device__ int64_t row() const { return first_ + threadIdx.y; }
  __device__ bool here() const { return row() < grid_.rows; }
  __device__ bool leads() const { return here() && threadIdx.x == 0; }  // one thread of the row
  __device__ int64_t chunks() const { return here() ? grid_.chunks : 0; }

 private:
  RowGrid grid_;
  int64_t first_;
};

// f(k, c) for each chunk c of this thread; k is its place in the registers.
template <int kKept, typename F>
__device__ inline void ForEachChunk(const RowLoop& loop, F f) {
  const int64_t chunks = loop.chunks();
  if constexpr (kKept == 0) {
    for (int64_t c = threadIdx.x; c < chunks; c += blockDim.x) f(0, c);
  } else {
    CUDA_UNROLL
    for (int k = 0; k < kKept; ++k) {
      const int c = static_cast<int>(threadIdx.x + k * blockDim.x);
      if (c < chunks) f(k, c);
    }
  }
}

// A row that is read once, or, with kKept of 0, whenever it is asked for.
template <typename T, int kCount, int kKept>
class RowReader {
 public:
  using C = Chunk<T, kCount>;

  __device__ RowReader(const Rows<T>& rows, const RowLoop& loop) : rows_(rows), row_(loop.row()) {
    if constexpr (kKept > 0) {
      ForEachChunk<kKept>(loop, [&](int k, auto c) { kept_[k] = LoadRaw<kCount>(rows_.template At<kCount>(row_, c)); });
    }
  }
  template <typename I>
  __device__ C Get(int k, I c) const {
    if constexpr (kKept > 0) {
      return kept_[k];
    } else {
      return LoadChunk<kCount>(rows_.template At<kCount>(row_, c));
    }
  }
  // Another value for a chunk. Where nothing is kept, it is in memory that the row has to be looked for.
  __device__ void Set(int k, const C& chunk) {
    if constexpr (kKept > 0) kept_[k] = chunk;
  }
  __device__ void LookIn(const Rows<T>& rows) { rows_ = rows; }

 private:
  Rows<T> rows_;
  int64_t row_;
  RawChunk<T, kCount> kept_[kKept > 0 ? kKept : 1] = {};
};

template <int kCount, typename T, typename I>
__device__ inline void WriteChunk(const float (&x)[kCount], const Rows<T>& rows, const RowLoop& loop, I c) {
  StoreChunk(Narrow<T>(x), rows.template At<kCount>(loop.row(), c));
}

// The value for every thread of a row.
template <typename T, typename Op>
__device__ inline T GroupReduce(T x, T identity, Op op) {
  if (blockDim.x > 32) return BlockReduce(x, identity, op);
  for (int distance = static_cast<int>(blockDim.x) / 2; distance > 0; distance /= 2) {
    x = op(x, __shfl_xor_sync(kWholeWarp, x, distance));
  }
  return x;
}
template <typename T>
__device__ inline T GroupSum(T x) {
  return GroupReduce(x, T(0), [](T a, T b) { return a + b; });
}
// Whether any row of those whose threads must branch alike has the property.
__device__ inline bool AnyBeside(bool mine) { return blockDim.x > 32 ? mine : __any_sync(kWholeWarp, mine) != 0; }

// One f32 per row.
struct RowScalars {
  float* data;
  int64_t stride;
};
inline RowScalars ScalarsOf(const View& v) { return {v.ptr<float>(), v.strides[0]}; }

// Sums down the columns, of the rows that a group walked: one row of partials [pieces, d], for cuda_columns.h. With
// kPieceBlocks blocks a device of today has all of them running, and the pieces are few enough to stay in its cache.
inline constexpr unsigned kPieceBlocks = 264;
inline constexpr unsigned kMaxPieceThreads = 512;  // of such a block: the sums need registers

// How many pieces a walk by `plan` leaves, with no more blocks than that; 0 if its threads cannot keep the sums.
inline int64_t TakePieces(RowPlan& plan) {
  if (plan.kept == 0 || plan.block.x > kMaxPieceThreads || plan.grid.rows == 0 || plan.grid.chunks == 0) return 0;
  if (plan.blocks > kPieceBlocks) plan.blocks = kPieceBlocks;
  return static_cast<int64_t>(plan.blocks) * plan.block.y;
}

template <int kKept, int kCount>
__device__ inline void WritePiece(const float (&sums)[kKept][kCount], float* partials, const RowGrid& grid) {
  const int64_t piece = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  CUDA_UNROLL
  for (int k = 0; k < kKept; ++k) {
    const int c = static_cast<int>(threadIdx.x + k * blockDim.x);
    if (c >= grid.chunks) continue;
    for (int j = 0; j < kCount; ++j) partials[(piece * grid.chunks + c) * kCount + j] = sums[k][j];
  }
}

// A vector of f32, or of the rows' dtype, that every row is combined with. PlanRows has seen it too.
struct Weights {
  const void* data;
  DType dtype;
  int64_t stride;

  template <typename T, int kCount, typename I>
  __device__ void Get(I c, float (&out)[kCount]) const {
    if constexpr (kCount == 1) {
      out[0] = ReadFloat(data, dtype, c * stride);
    } else if (dtype == DType::kF32) {
      Widen(LoadChunk<kCount>(static_cast<const float*>(data) + c * kCount), out);
    } else {
      Widen(LoadChunk<kCount>(static_cast<const T*>(data) + c * kCount), out);
    }
  }
};

inline Weights WeightsOf(const View& w) { return {w.data, w.dtype, w.strides[0]}; }

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_ROW_H_
