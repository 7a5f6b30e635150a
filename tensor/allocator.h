// Allocator: where tensors get their bytes. Two methods, so that allocators stack like filters.
//
//   CachingAllocator cache(&system);  TrackingAllocator tracked(&cache);
//   Tensor t = Tensor::Empty({64, 64}, DType::kF32, tracked);
//
// Contract: blocks are aligned to kAlignment bytes; Allocate(0) may return nullptr; on exhaustion Allocate returns
// nullptr and the caller reports (Tensor::Empty ends the process with exit code 3 and the largest holders). Free gets
// the size that Allocate got; Free(nullptr, 0) does nothing. Every implementation may be called from any thread.
// Ownership: a tensor keeps a pointer to its allocator, which must outlive it; so must the allocator under a filter.
#ifndef LORIKEET_TENSOR_ALLOCATOR_H_
#define LORIKEET_TENSOR_ALLOCATOR_H_

#include <cstddef>
#include <string>

#include "tensor/device.h"

namespace lorikeet {

class Allocator {
 public:
  static constexpr size_t kAlignment = 64;

  virtual ~Allocator() = default;
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Free(void* p, size_t bytes) = 0;
  virtual Device device() const { return kCpu; }
  // Who holds how much, for the report on exhaustion. Empty: nothing to say.
  virtual std::string Report() const { return ""; }
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_ALLOCATOR_H_
