// Device memory for what a CUDA kernel needs only while it runs.
//
//   float* delta = static_cast<float*>(CudaScratch(kCudaScratchAttention, tokens * heads * sizeof(float)));
//   ... launch what writes it, launch what reads it, on the compute stream ...
//
// One buffer per slot, which only grows, and stays: after the first step of a size nothing is allocated, so a step can
// be captured. The next kernel to ask for a slot gets the same memory and is ordered behind this one by the stream: all
// kernels that use scratch run on the one compute stream. A slot belongs to one kernel family; a family that needs two
// buffers at a time has two slots. The memory is DeviceMemory()'s, so that its idle blocks serve, and its report counts
// them.
// Errors: out of memory ends the process (exit 3) with that report, as for a tensor. Threads: one at a time.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_SCRATCH_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_SCRATCH_H_

#include <cstddef>
#include <cstdint>

namespace lorikeet::internal {

enum CudaScratchSlot {
  kCudaScratchAttention,      // a number per row of the backward pass, partial results of a split over keys
  kCudaScratchMatMulSums,     // a product before it is scaled and rounded
  kCudaScratchMatMulWidened,  // a weight in f32
  kCudaScratchMatMulLibrary,  // cublasLt's workspace
  kCudaScratchPartials,       // partial sums of columns and of whole tensors
  kCudaScratchSlots
};

// `bytes` bytes at a multiple of 256; what they hold is undefined. 0 bytes give any pointer, null too.
void* CudaScratch(CudaScratchSlot slot, size_t bytes);

// Another number whenever a buffer has moved: captured work (tensor/cuda_graph.h) holds addresses of the old one.
int64_t CudaScratchGeneration();

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_SCRATCH_H_
