#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/column_scale.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_columns.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_map.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::Chunk;
using internal::Data;
using internal::DispatchFloat;
using internal::FirstIndex;
using internal::GridFor;
using internal::IndexStride;
using internal::kBlockThreads;
using internal::kColumnGroups;
using internal::kColumnLanes;
using internal::kPackBytes;
using internal::kRowsPerPiece;
using internal::LaunchMap;
using internal::LoadChunk;
using internal::Narrow;
using internal::PartialsFor;
using internal::ReadFloat;
using internal::StoreChunk;
using internal::StreamOf;
using internal::SumPieces;
using internal::Vectorisable;
using internal::Widen;
using internal::WriteFloat;

__device__ inline int64_t At(const View& v, int64_t row, int64_t column) {
  return row * v.strides[0] + column * v.strides[1];
}

struct TimesMap {
  template <int kCount>
  __device__ void operator()(const float (&in)[2][kCount], float (&out)[1][kCount]) const {
    for (int j = 0; j < kCount; ++j) out[0][j] = in[1][j] * in[0][j];
  }
};

// Of two dtypes.
__global__ void MixedScaleKernel(View x, View g, View y) {
  const int64_t n = x.dims[0] * x.dims[1];
  for (int64_t at = FirstIndex(); at < n; at += IndexStride()) {
    const int64_t i = at / x.dims[1], j = at % x.dims[1];
    const float factor = Data<float>(g)[j * g.strides[0]];
    WriteFloat(ReadFloat(x.data, x.dtype, At(x, i, j)) * factor, y.data, y.dtype, At(y, i, j));
  }
}

// g as every row sees it.
View Repeated(View g, const View& like) {
  g.rank = 2;
  g.dims[0] = like.dims[0];
  g.dims[1] = like.dims[1];
  g.strides[1] = g.strides[0];
  g.strides[0] = 0;
  return g;
}

void ColumnScale(View x, View g, View y, LaunchContext context) {
  if (x.size() == 0) return;
  DispatchFloat(x.dtype, "ColumnScale", [&]<typename X>(X) {
    DispatchFloat(y.dtype, "ColumnScale", [&]<typename Y>(Y) {
      if (x.dtype != y.dtype) {
        CheckCuda(Launch(MixedScaleKernel, GridFor(x.size()), kBlockThreads, 0, StreamOf(context), x, g, y),
                  "column_scale");
      } else {
        LaunchMap<float, Y>(TimesMap(), {Repeated(g, x), x}, {y}, StreamOf(context), "column_scale");
      }
    });
  });
}

struct GradArgs {
  View dy, x, g, dx;
  float* partials;  // [runs, d], or null: no dot is wanted
};

// kCount columns of a row. With kCount of 1 the dtype is known at run time, and T is float.
template <typename T, int kCount>
__device__ Chunk<T, kCount> ReadColumns(const View& v, int64_t row, int64_t column) {
  if constexpr (kCount == 1) {
    return {{ReadFloat(v.data, v.dtype, At(v, row, column))}};
  } else {
    return LoadChunk<kCount>(Data<T>(v) + row * v.strides[0] + column);
  }
}
template <typename T, int kCount>
__device__ void WriteColumns(const float (&x)[kCount], const View& v, int64_t row, int64_t column) {
  if constexpr (kCount == 1) {
    WriteFloat(x[0], v.data, v.dtype, At(v, row, column));
  } else {
    StoreChunk(Narrow<T>(x), Data<T>(v) + row * v.strides[0] + column);
  }
}

// The sums of a block's groups of threads, in order: partials[column + j] for the threads of group 0.
template <int kCount>
__device__ void WriteRun(const float (&dot)[kCount], bool mine, float* partials) {
  CUDA_SHARED(float[kColumnGroups][kCount][kColumnLanes], parts);
  for (int j = 0; j < kCount; ++j) parts[threadIdx.y][j][threadIdx.x] = dot[j];
  __syncthreads();
  if (threadIdx.y == 0 && mine) {
    for (int j = 0; j < kCount; ++j) {
      float sum = dot[j];
      for (int group = 1; group < kColumnGroups; ++group) sum += parts[group][j][threadIdx.x];
      partials[j] = sum;
    }
  }
  __syncthreads();  // parts may be written again
}

// A block has a run of 64 rows of its columns: a thread kCount columns of every eighth row, four rows at once, so that
// all of what they need is asked for before any of it is waited for.
template <typename T, int kCount>
__global__ void ColumnScaleGradKernel(GradArgs a) {
  constexpr int kRows = 4;
  const int64_t rows = a.dy.dims[0], d = a.dy.dims[1];
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * kColumnLanes + threadIdx.x) * kCount;
  const bool mine = column < d;
  float g[kCount] = {};
  for (int j = 0; mine && j < kCount; ++j) g[j] = Data<float>(a.g)[(column + j) * a.g.strides[0]];
  for (int64_t run = blockIdx.y; run * kRowsPerPiece < rows; run += gridDim.y) {
    const int64_t end = mine ? min(rows, (run + 1) * kRowsPerPiece) : 0;
    float dot[kCount] = {};
    for (int64_t first = run * kRowsPerPiece + threadIdx.y; first < end; first += kRows * kColumnGroups) {
      Chunk<T, kCount> dy[kRows] = {}, x[kRows] = {};
      CUDA_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * kColumnGroups;
        if (row >= end) continue;
        dy[r] = ReadColumns<T, kCount>(a.dy, row, column);
        if (a.partials != nullptr) x[r] = ReadColumns<T, kCount>(a.x, row, column);
      }
      CUDA_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * kColumnGroups;
        float u[kCount], v[kCount];
        Widen(dy[r], u);
        Widen(x[r], v);
        for (int j = 0; j < kCount; ++j) {
          dot[j] += u[j] * v[j];
          u[j] *= g[j];
        }
        if (row < end) WriteColumns<T>(u, a.dx, row, column);
      }
    }
    if (a.partials != nullptr) WriteRun(dot, mine, a.partials + run * d + column);
  }
}

template <typename T, int kCount>
void LaunchGrad(const GradArgs& a, cudaStream_t stream) {
  const int64_t lanes = a.dy.dims[1] / kCount, runs = (a.dy.dims[0] + kRowsPerPiece - 1) / kRowsPerPiece;
  const dim3 grid(internal::ColumnBlocks(lanes), static_cast<unsigned>(runs < 65535 ? runs : 65535));
  CheckCuda(Launch(ColumnScaleGradKernel<T, kCount>, grid, dim3(kColumnLanes, kColumnGroups), 0, stream, a),
            "column_scale_grad");
}

void ColumnScaleGrad(View dy, View x, View g, View dx, View dot, LaunchContext context) {
  const int64_t rows = dy.dims[0], d = dy.dims[1], runs = (rows + kRowsPerPiece - 1) / kRowsPerPiece;
  if (d == 0) return;
  for (const View& v : {dy, x, dx}) DispatchFloat(v.dtype, "ColumnScaleGrad", [](auto) {});
  const cudaStream_t stream = StreamOf(context);
  float* partials = dot.rank == 0 ? nullptr : PartialsFor<float>(runs, d);
  const GradArgs a = {dy, x, g, dx, partials};
  const bool packs =
      dy.dtype == x.dtype && dy.dtype == dx.dtype && Vectorisable(dy) && Vectorisable(x) && Vectorisable(dx);
  if (rows > 0 && packs) {
    DispatchFloat(dy.dtype, "ColumnScaleGrad",
                  [&]<typename T>(T) { LaunchGrad<T, static_cast<int>(kPackBytes / sizeof(T))>(a, stream); });
  } else if (rows > 0) {
    LaunchGrad<float, 1>(a, stream);
  }
  if (dot.rank != 0) SumPieces(partials, runs, d, dot, stream);
}

}  // namespace

extern const ColumnScaleKernels kCudaColumnScale = {.column_scale = ColumnScale, .column_scale_grad = ColumnScaleGrad};

}  // namespace lorikeet
