#include <cstdio>
#include <cstdlib>

#include "tensor/kernels/cuda_scratch.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

void* CudaScratch(CudaScratchSlot slot, size_t bytes) {
  struct Buffer {
    char* data = nullptr;
    size_t bytes = 0;
  };
  static Buffer buffers[kCudaScratchSlots];
  Buffer& b = buffers[slot];
  if (bytes <= b.bytes) return b.data;
  // A quarter more than asked, so that growing ends soon. cudaFree waits for the device.
  const size_t rounded = (bytes + bytes / 4 + 255) / 256 * 256;
  (void)cudaFree(b.data);
  b = {};
  if (cudaMalloc(&b.data, rounded) != cudaSuccess) {
    std::fprintf(stderr, "out of memory: %zu bytes of scratch on the CUDA device\n", rounded);
    std::_Exit(3);
  }
  b.bytes = rounded;
  return b.data;
}

}  // namespace lorikeet::internal
