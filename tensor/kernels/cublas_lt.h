// cublasLt's matrix product, found when the program runs: a binary without it starts as fast, and works.
//
//   if (!CublasLtMultiply(call, context)) ...          // not installed, or no algorithm for this call
//
// The library is opened at the first call (libcublasLt.so.13, .12, or unversioned, where the loader or
// /usr/local/cuda has it). What it recommends for a shape is asked once. Split reductions are kept in f32 or not taken,
// so a sum is rounded once; equal calls give equal bits. Threads: one at a time. cublas_lt.cc, or, in a build without
// nvcc, no_cublas_lt.cc, which always says no.
#ifndef LORIKEET_TENSOR_KERNELS_CUBLAS_LT_H_
#define LORIKEET_TENSOR_KERNELS_CUBLAS_LT_H_

#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul_cuda.h"

namespace lorikeet::internal {

bool CublasLtMultiply(const LibraryCall& call, LaunchContext context);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUBLAS_LT_H_
