// The process's allocators: what Tensor::Empty(shape, dtype, device) draws from.
//
//   HostMemory().live_bytes();  HostMemory().peak_bytes();     // tensors on the CPU, for a report
//   HostCache().Trim();                                        // after loading: give idle blocks back to the system
//
// The host's is a TrackingAllocator over a CachingAllocator over SystemAllocator: fresh pages cost more than most
// operations (about 2 us for 4 kB, against 0.1 us to read them). The device's is one over a BlockAllocator over
// CudaAllocator. In a process with AddressSanitizer the cache is left
// out, so that a use after free meets the sanitizer's quarantine and not a block's next owner. All live as long as the
// process. Threads: any.
#ifndef LORIKEET_TENSOR_DEFAULT_ALLOCATOR_H_
#define LORIKEET_TENSOR_DEFAULT_ALLOCATOR_H_

#include <cstddef>

#include "tensor/allocator.h"
#include "tensor/caching_allocator.h"
#include "tensor/device.h"
#include "tensor/tracking_allocator.h"

namespace lorikeet {

Allocator& DefaultAllocator(Device device);

TrackingAllocator& HostMemory();    // == DefaultAllocator(kCpu)
TrackingAllocator& DeviceMemory();  // == DefaultAllocator(Cuda(0)), which also checks that there is a device; and is
                                    // another one within a DeviceMemoryScope
CachingAllocator& HostCache();

// While one is alive, its thread's tensors on the device come from `memory`, which has to outlive them.
class DeviceMemoryScope {
 public:
  explicit DeviceMemoryScope(Allocator& memory);
  ~DeviceMemoryScope();
  DeviceMemoryScope(const DeviceMemoryScope&) = delete;
  DeviceMemoryScope& operator=(const DeviceMemoryScope&) = delete;

 private:
  Allocator* const outer_;
};

// Straight from the operating system, returned to it on Free. Blocks of 2 MiB and more are mapped at 2 MiB boundaries
// and asked to have huge pages.
class SystemAllocator : public Allocator {
 public:
  void* Allocate(size_t bytes) override;
  void Free(void* p, size_t bytes) override;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_DEFAULT_ALLOCATOR_H_
