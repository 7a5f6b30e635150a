// Sums and maxima over a warp and over a block, in an order that never changes: equal inputs, equal bits.
//
//   float total = BlockSum(part);                                // every thread of the block calls it, and gets it
//   float m = WarpReduce(x, [](float a, float b) { return fmaxf(a, b); });
//
// A block has whole warps, 1024 threads at most. The tree's shape depends on the number of threads alone. Only for .cu
// files; nvcc and the simulator both take it.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_REDUCE_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_REDUCE_H_

#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr unsigned kWholeWarp = 0xffffffffu;

// Every lane gets the result: op is associative and commutative up to rounding.
template <typename T, typename Op>
__device__ inline T WarpReduce(T x, Op op) {
  for (int distance = 16; distance > 0; distance /= 2) x = op(x, __shfl_xor_sync(kWholeWarp, x, distance));
  return x;
}

template <typename T>
__device__ inline T WarpSum(T x) {
  return WarpReduce(x, [](T a, T b) { return a + b; });
}

// `identity` leaves any value as it is: 0 for a sum. Threads are counted along x.
template <typename T, typename Op>
__device__ inline T BlockReduce(T x, T identity, Op op) {
  CUDA_SHARED(T[32], parts);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  x = WarpReduce(x, op);
  if (warps == 1) return x;
  if (lane == 0) parts[warp] = x;
  __syncthreads();
  x = WarpReduce(lane < warps ? parts[lane] : identity, op);
  __syncthreads();  // parts may be written again
  return x;
}

template <typename T>
__device__ inline T BlockSum(T x) {
  return BlockReduce(x, T(0), [](T a, T b) { return a + b; });
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_REDUCE_H_
