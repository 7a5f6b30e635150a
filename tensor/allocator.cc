#include "tensor/allocator.h"

#include <cstdlib>

#include "tensor/check.h"

namespace lorikeet {
namespace {

class SystemAllocator : public Allocator {
 public:
  void* Allocate(size_t bytes) override {
    return bytes == 0 ? nullptr : std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  }
  void Free(void* p, size_t) override { std::free(p); }
};

}  // namespace

Allocator& DefaultAllocator(Device device) {
  LORIKEET_CHECK(device.is_cpu()) << "no allocator for " << ToString(device);
  static SystemAllocator* const system = new SystemAllocator;
  return *system;
}

}  // namespace lorikeet
