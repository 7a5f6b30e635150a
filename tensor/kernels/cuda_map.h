// Elementwise kernels: out = f(in) over views of the same dims and any strides.
//
//   struct Twice {
//     template <int kCount>
//     __device__ void operator()(const float (&in)[1][kCount], float (&out)[1][kCount]) const {
//       for (int j = 0; j < kCount; ++j) out[0][j] = 2 * in[0][j];
//     }
//   };
//   LaunchMap<T, T>(Twice(), {x}, {y}, stream, "twice");        // the first input's type, and that of all others
//
// Where every view's innermost dimension lies at multiples of 16 bytes, or repeats one element, a thread takes 16 bytes
// at once, of the wider type, and finds them without a division per element: contiguous views, slices of rows, permuted
// outer dimensions, broadcast rows and columns. Other views are taken element by element. An output may be the same
// view as an input. Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_MAP_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_MAP_H_

#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

// Drops dimensions of size 1 and merges neighbours that lie alike in every view, so that contiguous views have rank 1.
template <int kViews>
void MergeDims(View (&views)[kViews]) {
  const View first = views[0];
  int rank = 0;
  for (int d = 0; d < first.rank; ++d) {
    if (first.dims[d] == 1) continue;
    bool merges = rank > 0;
    for (const View& v : views) merges = merges && v.strides[rank > 0 ? rank - 1 : 0] == v.strides[d] * v.dims[d];
    if (!merges) ++rank;
    for (View& v : views) {
      v.dims[rank - 1] = merges ? v.dims[rank - 1] * v.dims[d] : v.dims[d];
      v.strides[rank - 1] = v.strides[d];
    }
  }
  for (View& v : views) {
    if (rank == 0) v.dims[0] = v.strides[0] = 1;
    v.rank = rank == 0 ? 1 : rank;
  }
}

// A view as rows of its innermost dimension.
struct MapOperand {
  View outer;      // the other dimensions; its rank may be 0
  int64_t stride;  // of the innermost: 1, or 0 where one element is repeated
};

inline MapOperand MapOperandOf(const View& v) {
  MapOperand operand = {v, v.strides[v.rank - 1]};
  if (--operand.outer.rank == 0) operand.outer.strides[0] = 0;  // one row
  return operand;
}

// Whether a thread can take `count` elements at once. Only a single row may end with less than a whole chunk.
inline bool InChunks(const View& v, int64_t count) {
  const int64_t bytes = count * static_cast<int64_t>(SizeOf(v.dtype));
  const int64_t stride = v.strides[v.rank - 1];
  if (stride == 0) return v.rank == 1 || v.dims[v.rank - 1] % count == 0;
  if (stride != 1 || reinterpret_cast<uintptr_t>(v.data) % (bytes < kPackBytes ? bytes : kPackBytes) != 0) return false;
  if (v.rank > 1 && v.dims[v.rank - 1] % count != 0) return false;
  for (int d = 0; d + 1 < v.rank; ++d) {
    if (v.strides[d] % count != 0) return false;
  }
  return true;
}

template <int kIn, int kOut>
struct MapArgs {
  MapOperand in[kIn], out[kOut];
  int64_t rows, columns;
};

// Chunks of an input that a thread asks for at once: of a single input one would be too few bytes on their way.
template <int kIn>
inline constexpr int kMapAhead = kIn == 1 ? 2 : 1;

template <typename T>
__device__ inline T* RowOf(const MapOperand& x, int64_t row) {
  return Data<T>(x.outer) + (row == 0 ? 0 : Offset(x.outer, row));  // a single row is the usual case
}

// A row of an input: where it begins, or, repeated, the one element that it has.
template <typename T, int kCount>
struct MapInput {
  const T* at;
  int64_t stride;
  RawChunk<T, kCount> repeated;

  __device__ void Begin(const MapOperand& x, int64_t row) {
    at = RowOf<const T>(x, row);
    stride = x.stride;
    if constexpr (kCount > 1) {
      if (stride != 0) return;
      Chunk<T, kCount> chunk;
      for (int j = 0; j < kCount; ++j) chunk.v[j] = *at;
      repeated = chunk;
    }
  }
  __device__ RawChunk<T, kCount> Read(int64_t column) const {
    if constexpr (kCount == 1) {
      return LoadRaw<1>(at + column * stride);
    } else {
      RawChunk<T, kCount> chunk = repeated;
      if (stride != 0) chunk = LoadRaw<kCount>(at + column);
      return chunk;
    }
  }
};

// A row of every view.
template <typename A, typename T, int kCount, int kIn, int kOut>
struct MapRow {
  struct Inputs {
    RawChunk<A, kCount> first;
    RawChunk<T, kCount> rest[kIn];  // from 1 on
  };
  MapInput<A, kCount> first;
  MapInput<T, kCount> rest[kIn];
  T* out[kOut];

  __device__ MapRow(const MapArgs<kIn, kOut>& a, int64_t row) {
    first.Begin(a.in[0], row);
    CUDA_UNROLL
    for (int i = 1; i < kIn; ++i) rest[i].Begin(a.in[i], row);
    CUDA_UNROLL
    for (int i = 0; i < kOut; ++i) out[i] = RowOf<T>(a.out[i], row);
  }
  __device__ void Read(int64_t column, Inputs& x) const {
    x.first = first.Read(column);
    CUDA_UNROLL
    for (int i = 1; i < kIn; ++i) x.rest[i] = rest[i].Read(column);
  }
};

template <typename A, typename T, int kCount, int kIn, int kOut, typename F>
__device__ inline void MapChunk(const F& f, const MapRow<A, T, kCount, kIn, kOut>& row,
                                const typename MapRow<A, T, kCount, kIn, kOut>::Inputs& x, const MapArgs<kIn, kOut>& a,
                                int64_t column) {
  float in[kIn][kCount], out[kOut][kCount] = {};
  Widen(x.first, in[0]);
  CUDA_UNROLL
  for (int i = 1; i < kIn; ++i) Widen(x.rest[i], in[i]);
  f(in, out);
  CUDA_UNROLL
  for (int i = 0; i < kOut; ++i) {
    StoreChunk(Narrow<T>(out[i]), row.out[i] + column * (kCount == 1 ? a.out[i].stride : 1));
  }
}

// The chunks that this thread has of a row.
template <typename A, typename T, int kCount, int kIn, int kOut, typename F>
__device__ inline void MapChunks(const F& f, const MapArgs<kIn, kOut>& a, int64_t at) {
  using Row = MapRow<A, T, kCount, kIn, kOut>;
  constexpr int kAhead = kMapAhead<kIn>;
  const Row row(a, at);
  const int64_t chunks = a.columns / kCount, stride = IndexStride();
  const auto some = [&](int64_t c, auto count) {
    typename Row::Inputs x[count()];
    CUDA_UNROLL
    for (int k = 0; k < count(); ++k) row.Read((c + k * stride) * kCount, x[k]);
    CUDA_UNROLL
    for (int k = 0; k < count(); ++k) MapChunk(f, row, x[k], a, (c + k * stride) * kCount);
  };
  int64_t c = FirstIndex();
  for (; c + (kAhead - 1) * stride < chunks; c += kAhead * stride) some(c, std::integral_constant<int, kAhead>());
  if constexpr (kAhead > 1) {
    for (; c < chunks; c += stride) some(c, std::integral_constant<int, 1>());
  }
}

template <typename A, typename T, int kIn, int kOut, typename F>
__device__ inline void MapOne(const F& f, const MapArgs<kIn, kOut>& a, int64_t at, int64_t column) {
  using Row = MapRow<A, T, 1, kIn, kOut>;
  const Row row(a, at);
  typename Row::Inputs x;
  row.Read(column, x);
  MapChunk(f, row, x, a, column);
}

// What a single row has beyond its whole chunks goes to the first threads of the grid.
template <typename A, typename T, int kCount, int kIn, int kOut, typename F>
__global__ void __launch_bounds__(kBlockThreads) MapKernel(F f, const __grid_constant__ MapArgs<kIn, kOut> a) {
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < a.rows;
       row += static_cast<int64_t>(gridDim.y) * blockDim.y) {
    MapChunks<A, T, kCount>(f, a, row);
    const int64_t rest = a.columns / kCount * kCount + FirstIndex();
    for (int64_t at = rest; at < a.columns; at += IndexStride()) MapOne<A, T>(f, a, row, at);
  }
}

template <typename A, typename T, int kIn, int kOut, typename F>
__global__ void MapStridedKernel(F f, const __grid_constant__ MapArgs<kIn, kOut> a) {
  for (int64_t i = FirstIndex(); i < a.rows * a.columns; i += IndexStride()) {
    MapOne<A, T>(f, a, i / a.columns, i % a.columns);
  }
}

// A grid for rows of chunks: blocks are as wide as the rows, if that is less than a block's threads, and as high as the
// threads that are left.
struct MapGrid {
  dim3 grid, block;
};
inline MapGrid MapGridFor(int64_t rows, int64_t chunks) {
  unsigned across = 1;
  while (across < kBlockThreads && across < chunks) across *= 2;
  const int64_t down = kBlockThreads / across, x = (chunks + across - 1) / across, y = (rows + down - 1) / down;
  return {dim3(static_cast<unsigned>(x < (1 << 30) ? x : 1 << 30), static_cast<unsigned>(y < 65535 ? y : 65535)),
          dim3(across, static_cast<unsigned>(down))};
}

template <typename A, typename T, int kIn, int kOut, typename F>
void LaunchMap(F f, const View (&in)[kIn], const View (&out)[kOut], cudaStream_t stream, const char* what) {
  if (out[0].size() == 0) return;
  View views[kIn + kOut];
  for (int i = 0; i < kIn; ++i) views[i] = in[i];
  for (int i = 0; i < kOut; ++i) views[kIn + i] = out[i];
  MergeDims(views);
  constexpr int kCount = static_cast<int>(kPackBytes / (sizeof(A) > sizeof(T) ? sizeof(A) : sizeof(T)));
  bool in_chunks = true;
  for (const View& v : views) in_chunks = in_chunks && InChunks(v, kCount);

  MapArgs<kIn, kOut> a;
  for (int i = 0; i < kIn; ++i) a.in[i] = MapOperandOf(views[i]);
  for (int i = 0; i < kOut; ++i) a.out[i] = MapOperandOf(views[kIn + i]);
  a.columns = views[0].dims[views[0].rank - 1];
  a.rows = views[0].size() / a.columns;
  if (!in_chunks) {
    CheckCuda(Launch(MapStridedKernel<A, T, kIn, kOut, F>, GridFor(views[0].size()), kBlockThreads, 0, stream, f, a),
              what);
    return;
  }
  // Where there is work enough for all of a device, threads that do twice as much begin half as often.
  const int64_t each = kCount * kMapAhead<kIn> * (views[0].size() >= kCount << 20 ? 2 : 1);
  const MapGrid grid = MapGridFor(a.rows, (a.columns + each - 1) / each);
  CheckCuda(Launch(MapKernel<A, T, kCount, kIn, kOut, F>, grid.grid, grid.block, 0, stream, f, a), what);
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_MAP_H_
