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
// at once, and finds them without a division per element: contiguous views, slices of rows, permuted outer dimensions,
// broadcast rows and columns. Other views are taken element by element. An output may be the same view as an input.
// Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_MAP_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_MAP_H_

#include <cstdint>

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

template <int kCount, typename T>
__device__ inline void ReadMapped(const MapOperand& x, int64_t row, int64_t column, float (&out)[kCount]) {
  const T* at = Data<T>(x.outer) + Offset(x.outer, row) + column * x.stride;
  if (kCount == 1 || x.stride != 0) {
    Widen(LoadChunk<kCount>(at), out);
  } else {
    const float v = ToFloat(*at);
    for (int j = 0; j < kCount; ++j) out[j] = v;
  }
}

template <typename A, typename T, int kCount, int kIn, int kOut, typename F>
__device__ inline void MapChunk(const F& f, const MapArgs<kIn, kOut>& a, int64_t row, int64_t column) {
  float in[kIn][kCount], out[kOut][kCount] = {};
  ReadMapped<kCount, A>(a.in[0], row, column, in[0]);
  CUDA_UNROLL
  for (int i = 1; i < kIn; ++i) ReadMapped<kCount, T>(a.in[i], row, column, in[i]);
  f(in, out);
  CUDA_UNROLL
  for (int i = 0; i < kOut; ++i) {
    T* at = Data<T>(a.out[i].outer) + Offset(a.out[i].outer, row) + column * a.out[i].stride;
    StoreChunk(Narrow<T>(out[i]), at);
  }
}

// What a single row has beyond its whole chunks goes to the first threads of the grid.
template <typename A, typename T, int kCount, int kIn, int kOut, typename F>
__global__ void MapKernel(F f, MapArgs<kIn, kOut> a) {
  const int64_t chunks = a.columns / kCount, first = FirstIndex();
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < a.rows;
       row += static_cast<int64_t>(gridDim.y) * blockDim.y) {
    for (int64_t c = first; c < chunks; c += IndexStride()) MapChunk<A, T, kCount>(f, a, row, c * kCount);
    for (int64_t at = chunks * kCount + first; at < a.columns; at += IndexStride()) MapChunk<A, T, 1>(f, a, row, at);
  }
}

template <typename A, typename T, int kIn, int kOut, typename F>
__global__ void MapStridedKernel(F f, MapArgs<kIn, kOut> a) {
  for (int64_t i = FirstIndex(); i < a.rows * a.columns; i += IndexStride()) {
    MapChunk<A, T, 1>(f, a, i / a.columns, i % a.columns);
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
  constexpr int kCount = static_cast<int>(kPackBytes / (sizeof(A) < sizeof(T) ? sizeof(A) : sizeof(T)));
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
  const MapGrid grid = MapGridFor(a.rows, (a.columns + kCount - 1) / kCount);
  CheckCuda(Launch(MapKernel<A, T, kCount, kIn, kOut, F>, grid.grid, grid.block, 0, stream, f, a), what);
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_MAP_H_
