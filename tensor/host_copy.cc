#include "tensor/host_copy.h"

#include <cstddef>

#include "tensor/allocator.h"
#include "tensor/caching_allocator.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"

namespace lorikeet {
namespace {

// Pinning takes long and waits for the device: what was pinned once is kept for the next copy.
Allocator& PinnedBuffers() {
  static PinnedAllocator* const pinned = new PinnedAllocator;
  static CachingAllocator* const cache = new CachingAllocator(pinned);
  return *cache;
}

}  // namespace

HostCopy::HostCopy(const std::vector<Tensor>& tensors) {
  for (const Tensor& t : tensors) {
    if (t.device().is_cpu()) {
      copies_.push_back(t.Clone());
      continue;
    }
    const Tensor from = t.Contiguous();
    copies_.push_back(Tensor::Empty(t.shape(), t.dtype(), PinnedBuffers()));
    ComputeStream().Copy(copies_.back().raw(), from.raw(), static_cast<size_t>(from.nbytes()));
    if (done_ == nullptr) done_ = std::make_unique<CudaEvent>();
  }
  if (done_ != nullptr) done_->Record(ComputeStream());
}

const std::vector<Tensor>& HostCopy::Wait() {
  if (done_ != nullptr) done_->Synchronize();
  return copies_;
}

double HostCopy::SecondsSince(const HostCopy& earlier) const {
  return done_ == nullptr || earlier.done_ == nullptr ? 0 : 1e-3 * done_->MillisecondsSince(*earlier.done_);
}

}  // namespace lorikeet
