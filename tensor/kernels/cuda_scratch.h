// Memory of a kernel's own between two launches of one call: partial sums, mostly.
//
//   float* partials = static_cast<float*>(CudaScratch(kPartialsSlot, bytes, stream));
//
// A slot is a buffer that only grows. It is in use until the stream has run what was launched with it: there is one
// compute stream, so the next user of the slot, on the same stream, comes after. Growing waits for the device; once the
// largest shapes have been seen nothing waits any more. Threads: those that launch kernels take turns anyway. Only for
// .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_SCRATCH_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_SCRATCH_H_

#include <cstddef>

#include "tensor/kernels/cuda_common.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr int kPartialsSlot = 0;
inline constexpr int kScratchSlots = 8;

inline void* CudaScratch(int slot, size_t bytes, cudaStream_t stream) {
  struct Buffer {
    void* data = nullptr;
    size_t bytes = 0;
  };
  static Buffer buffers[kScratchSlots];
  Buffer& buffer = buffers[slot];
  if (bytes > buffer.bytes) {
    if (buffer.data != nullptr) {
      CheckCuda(cudaStreamSynchronize(stream), "scratch");
      CheckCuda(cudaFree(buffer.data), "scratch");
    }
    buffer.bytes = bytes;
    CheckCuda(cudaMalloc(&buffer.data, bytes), "scratch");
  }
  return buffer.data;
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_SCRATCH_H_
