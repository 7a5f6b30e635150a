// Sums down the columns of a matrix, in an order that the shape alone decides: pieces of rows are summed side by side
// into [pieces, columns], then the pieces in order.
//
//   float* partials = PartialsFor<float>(pieces, columns);
//   ... a kernel that writes partials[piece * columns + column] ...
//   SumPieces(partials, pieces, columns, dw, stream);
//
//   SumColumns(f, rows, columns, dw, stream);       // dw[j] = sum over i of f(i, j), f a __device__ function object
//
// Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_COLUMNS_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_COLUMNS_H_

#include <cstdint>

#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr int kColumnLanes = 32;  // neighbouring columns of a block
inline constexpr int kColumnGroups = 8;  // groups of threads that share the rows of a block's columns
inline constexpr int kRowsPerPiece = 64;

template <typename P>
P* PartialsFor(int64_t pieces, int64_t columns) {
  return static_cast<P*>(CudaScratch(kCudaScratchPartials, static_cast<size_t>(pieces * columns) * sizeof(P)));
}

// The groups' values for a column, in order; for the threads of group 0.
__device__ inline double SumOverGroups(double x) {
  CUDA_SHARED(double[kColumnGroups][kColumnLanes], parts);
  parts[threadIdx.y][threadIdx.x] = x;
  __syncthreads();
  double sum = parts[0][threadIdx.x];
  for (int g = 1; g < kColumnGroups; ++g) sum += parts[g][threadIdx.x];
  __syncthreads();  // parts may be written again
  return sum;
}

template <typename P>
__global__ void SumPiecesKernel(const P* partials, int64_t pieces, int64_t columns, View out) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumnLanes + threadIdx.x;
  double sum = 0;
  if (column < columns) {
    for (int64_t p = threadIdx.y; p < pieces; p += kColumnGroups)
      sum += static_cast<double>(partials[p * columns + column]);
  }
  sum = SumOverGroups(sum);
  if (threadIdx.y == 0 && column < columns) {
    WriteFloat(static_cast<float>(sum), out.data, out.dtype, column * out.strides[0]);
  }
}

inline unsigned ColumnBlocks(int64_t columns) {
  return static_cast<unsigned>((columns + kColumnLanes - 1) / kColumnLanes);
}

template <typename P>
void SumPieces(const P* partials, int64_t pieces, int64_t columns, const View& out, cudaStream_t stream) {
  CheckCuda(Launch(SumPiecesKernel<P>, ColumnBlocks(columns), dim3(kColumnLanes, kColumnGroups), 0, stream, partials,
                   pieces, columns, out),
            "sum over pieces");
}

template <typename F>
__global__ void SumColumnsKernel(F f, int64_t rows, int64_t columns, float* partials) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumnLanes + threadIdx.x;
  for (int64_t piece = blockIdx.y; piece * kRowsPerPiece < rows; piece += gridDim.y) {
    const int64_t begin = piece * kRowsPerPiece, end = min(rows, begin + kRowsPerPiece);
    float sum = 0;
    if (column < columns) {
      for (int64_t i = begin + threadIdx.y; i < end; i += kColumnGroups) sum += f(i, column);
    }
    const double total = SumOverGroups(static_cast<double>(sum));
    if (threadIdx.y == 0 && column < columns) partials[piece * columns + column] = static_cast<float>(total);
  }
}

template <typename F>
void SumColumns(F f, int64_t rows, int64_t columns, const View& out, cudaStream_t stream) {
  const int64_t pieces = (rows + kRowsPerPiece - 1) / kRowsPerPiece;
  float* partials = PartialsFor<float>(pieces, columns);
  if (pieces > 0) {
    CheckCuda(
        Launch(SumColumnsKernel<F>, dim3(ColumnBlocks(columns), static_cast<unsigned>(pieces < 65535 ? pieces : 65535)),
               dim3(kColumnLanes, kColumnGroups), 0, stream, f, rows, columns, partials),
        "sum down columns");
  }
  SumPieces(partials, pieces, columns, out, stream);
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_COLUMNS_H_
