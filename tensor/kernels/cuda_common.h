// What the .cu files share: where an element of a strided view lies, how large a grid is, and what becomes of an error.
//
//   __global__ void Twice(View x, View y, int64_t n) {
//     for (int64_t i = FirstIndex(); i < n; i += IndexStride())
//       Data<float>(y)[Offset(y, i)] = 2 * Data<float>(x)[Offset(x, i)];
//   }
//   CheckCuda(Launch(Twice, GridFor(n), kBlockThreads, 0, StreamOf(context), x, y, n), "Twice");
//
// Only for .cu files; nvcc and the simulator both take it.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_COMMON_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_COMMON_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tensor/cuda_stream.h"
#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr int kBlockThreads = 256;
// Grid-stride loops do the rest: enough blocks to fill any device, few enough that starting them costs nothing.
inline constexpr int64_t kMaxBlocks = 2048;

inline unsigned GridFor(int64_t n) {
  const int64_t blocks = (n + kBlockThreads - 1) / kBlockThreads;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

inline cudaStream_t StreamOf(LaunchContext context) {
  return static_cast<cudaStream_t>(context.stream != nullptr ? context.stream : ComputeStream().handle());
}

// A launch fails for reasons of ours (a wrong grid) or of a broken device: neither can be mended here.
inline void CheckCuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s: %s\n", what, cudaGetErrorString(error));
  std::fflush(stderr);
  std::abort();
}

// f with a value of dtype's C++ type; f64 stays on the CPU.
template <typename F>
void DispatchFloat(DType dtype, const char* op, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kBF16:
      return f(bf16{});
    case DType::kF16:
      return f(f16{});
    default:
      std::fprintf(stderr, "CUDA %s: expected f32, bf16 or f16, got %s\n", op, Name(dtype));
      std::abort();
  }
}

__device__ inline int64_t FirstIndex() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t IndexStride() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

template <typename T>
__device__ inline T* Data(const View& v) {
  return static_cast<T*>(v.data);
}

// Offset of the element with row-major index i, in elements; strides of 0 repeat. A division for each dimension but the
// first.
__device__ inline int64_t Offset(const View& v, int64_t i) {
  int64_t offset = 0;
  CUDA_NO_UNROLL
  for (int d = v.rank - 1; d > 0; --d) {
    offset += i % v.dims[d] * v.strides[d];
    i /= v.dims[d];
  }
  return offset + i * v.strides[0];
}

// Contiguous views become rank 1, so that Offset costs no division.
inline View Flattened(View v) {
  if (!v.contiguous()) return v;
  v.dims[0] = v.size();
  v.strides[0] = 1;
  v.rank = 1;
  return v;
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_COMMON_H_
