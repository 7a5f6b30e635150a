#include "tensor/kernels/cuda_scratch.h"

#include <cstdio>
#include <cstdlib>

#include "tensor/allocator.h"
#include "tensor/default_allocator.h"

namespace lorikeet::internal {
namespace {
int64_t generation = 0;
}

int64_t CudaScratchGeneration() { return generation; }

void* CudaScratch(CudaScratchSlot slot, size_t bytes) {
  struct Buffer {
    void* data = nullptr;
    size_t bytes = 0;
  };
  static Buffer buffers[kCudaScratchSlots];
  Buffer& b = buffers[slot];
  if (bytes <= b.bytes) return b.data;
  // What is queued may still use the old buffer; whoever gets its memory next comes after, on the same stream.
  Allocator& memory = DeviceMemory();
  memory.Free(b.data, b.bytes);
  b = {};
  const size_t rounded = (bytes + bytes / 4 + 255) / 256 * 256;  // a quarter more, so that growing ends soon
  b.data = memory.Allocate(rounded);
  if (b.data == nullptr) {
    std::fprintf(stderr, "out of memory: %zu bytes of scratch on the CUDA device\n%s", rounded,
                 memory.Report().c_str());
    std::fflush(stderr);
    std::_Exit(3);
  }
  b.bytes = rounded;
  ++generation;
  return b.data;
}

}  // namespace lorikeet::internal
