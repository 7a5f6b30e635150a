// Sums of squares of many tensors at once: ReduceKernels::sum_squares_each of kCudaReduce (tensor/kernels/reduce.h).
#ifndef LORIKEET_TENSOR_KERNELS_SUM_SQUARES_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_SUM_SQUARES_CUDA_H_

#include <cstdint>

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet::internal {

void CudaSumSquaresEach(const View* xs, int64_t count, View y, LaunchContext context);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_SUM_SQUARES_CUDA_H_
