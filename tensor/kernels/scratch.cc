#include "tensor/kernels/scratch.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

namespace lorikeet {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

struct Buffers {
  void* data[kScratchSlots] = {};
  size_t bytes[kScratchSlots] = {};
  ~Buffers() {
    for (void* p : data) std::free(p);
  }
};

}  // namespace

void* ThreadScratch(ScratchSlot slot, size_t bytes) {
  static thread_local Buffers buffers;
  if (bytes <= buffers.bytes[slot] && buffers.data[slot] != nullptr) return buffers.data[slot];
  std::free(buffers.data[slot]);
  // Whole huge pages where they pay; else whole pages. A quarter more than asked, so that growing ends soon.
  const size_t unit = bytes >= kHugePage ? kHugePage : 4096;
  const size_t rounded = (bytes + bytes / 4 + unit) / unit * unit;
  void* p = std::aligned_alloc(unit, rounded);
  if (p == nullptr) {
    std::fprintf(stderr, "out of memory: %zu bytes of scratch\n", rounded);
    std::_Exit(3);
  }
  if (unit == kHugePage) madvise(p, rounded, MADV_HUGEPAGE);  // a hint: refusal costs only speed
  buffers.data[slot] = p;
  buffers.bytes[slot] = rounded;
  return p;
}

}  // namespace lorikeet
