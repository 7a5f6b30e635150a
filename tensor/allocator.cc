#include "tensor/allocator.h"

#include <cstdlib>

#include "tensor/check.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"

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
  if (device.is_cuda()) {
    LORIKEET_CHECK_EQ(device.index, 0) << "one process drives one device";
    LORIKEET_CHECK(CudaUnavailable().empty()) << "no tensor on " << ToString(device) << ": " << CudaUnavailable();
    static CudaAllocator* const cuda = new CudaAllocator;
    return *cuda;
  }
  static SystemAllocator* const system = new SystemAllocator;
  return *system;
}

}  // namespace lorikeet
