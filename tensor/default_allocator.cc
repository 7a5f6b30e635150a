#include "tensor/default_allocator.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#include "tensor/block_allocator.h"
#include "tensor/check.h"
#include "tensor/cuda_memory.h"

// Defined by the sanitizer's runtime; its address is null in a process without one.
extern "C" void __asan_init() __attribute__((weak));

namespace lorikeet {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

bool UnderAddressSanitizer() { return &__asan_init != nullptr; }

bool IsMapped(size_t bytes) { return bytes >= kHugePage && !UnderAddressSanitizer(); }

thread_local Allocator* scoped_device_memory = nullptr;

SystemAllocator& System() {
  static SystemAllocator* const system = new SystemAllocator;
  return *system;
}

}  // namespace

void* SystemAllocator::Allocate(size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX / 2) return nullptr;
  if (!IsMapped(bytes)) return std::aligned_alloc(kAlignment, RoundUp(bytes, kAlignment));
  // mmap aligns to 4 kB: map a huge page more, and cut what is before and behind the boundaries off again.
  const size_t size = RoundUp(bytes, 4096), mapped = size + kHugePage;
  void* const start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  char* const first = static_cast<char*>(start);
  char* const aligned =
      first + (RoundUp(reinterpret_cast<uintptr_t>(first), kHugePage) - reinterpret_cast<uintptr_t>(first));
  char* const end = first + mapped;
  if (aligned != first) munmap(first, static_cast<size_t>(aligned - first));
  if (aligned + size != end) munmap(aligned + size, static_cast<size_t>(end - aligned - size));
  madvise(aligned, size, MADV_HUGEPAGE);  // a hint: a kernel without huge pages goes on with small ones
  return aligned;
}

void SystemAllocator::Free(void* p, size_t bytes) {
  if (p == nullptr) return;
  if (IsMapped(bytes)) {
    munmap(p, RoundUp(bytes, 4096));
  } else {
    std::free(p);
  }
}

CachingAllocator& HostCache() {
  static CachingAllocator* const cache = new CachingAllocator(&System());
  return *cache;
}

TrackingAllocator& HostMemory() {
  static Allocator* const base = UnderAddressSanitizer() ? static_cast<Allocator*>(&System()) : &HostCache();
  static TrackingAllocator* const memory = new TrackingAllocator(base, "tensors on the CPU");
  return *memory;
}

Allocator& DefaultAllocator(Device device) {
  if (device.is_cpu()) return HostMemory();
  LORIKEET_CHECK_EQ(device.index, 0) << "one process drives one device";
  LORIKEET_CHECK(CudaUnavailable().empty()) << "no tensor on " << ToString(device) << ": " << CudaUnavailable();
  return scoped_device_memory != nullptr ? *scoped_device_memory : DeviceMemory();
}

DeviceMemoryScope::DeviceMemoryScope(Allocator& memory) : outer_(scoped_device_memory) {
  scoped_device_memory = &memory;
}
DeviceMemoryScope::~DeviceMemoryScope() { scoped_device_memory = outer_; }

TrackingAllocator& DeviceMemory() {
  static CudaAllocator* const cuda = new CudaAllocator;
  static Allocator* const base =
      UnderAddressSanitizer() ? static_cast<Allocator*>(cuda) : new BlockAllocator(cuda);  // as for the host
  static TrackingAllocator* const memory = new TrackingAllocator(base, "tensors on cuda:0");
  return *memory;
}

}  // namespace lorikeet
