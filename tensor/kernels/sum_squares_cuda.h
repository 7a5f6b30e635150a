// Sums of squares of many tensors at once: ReduceKernels::sum_squares_each of kCudaReduce (tensor/kernels/reduce.h).
//
//   CudaSumSquaresEach(views, count, y, {});          // y[i] = the sum of views[i]'s squares
//
// views f32, contiguous, of any sizes, 0 among them; y f64 [count], on the same device. Two launches for every 112 of
// them. Partial sums lie in scratch and are added in an order that depends on the sizes alone: equal inputs, equal
// bits. Another dtype ends the process.
#ifndef LORIKEET_TENSOR_KERNELS_SUM_SQUARES_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_SUM_SQUARES_CUDA_H_

#include <cstdint>

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet::internal {

void CudaSumSquaresEach(const View* xs, int64_t count, View y, LaunchContext context);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_SUM_SQUARES_CUDA_H_
