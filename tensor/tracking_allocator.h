// TrackingAllocator: counts what is live, its peak, and which sizes hold the most.
//
//   TrackingAllocator weights(&HostMemory(), "weights");     // a name is a tag: give it to the tensors it is for
//   Tensor w = Tensor::Empty({4096, 4096}, DType::kBF16, weights);
//   weights.live_bytes() == 33554432;  weights.peak_bytes();  weights.Report();
//
// Bytes are those asked for, not what the allocator below rounds them to. Stacked trackers each count for themselves.
// Threads: any.
#ifndef LORIKEET_TENSOR_TRACKING_ALLOCATOR_H_
#define LORIKEET_TENSOR_TRACKING_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "tensor/allocator.h"
#include "tensor/device.h"

namespace lorikeet {

class TrackingAllocator : public Allocator {
 public:
  explicit TrackingAllocator(Allocator* base, std::string name = "memory") : base_(base), name_(std::move(name)) {}

  void* Allocate(size_t bytes) override;
  void Free(void* p, size_t bytes) override;
  Device device() const override { return base_->device(); }
  // Live and peak bytes, the sizes that hold the most with their number of blocks, and what the base reports.
  std::string Report() const override;

  int64_t live_bytes() const;
  int64_t live_blocks() const;
  int64_t peak_bytes() const;  // since the start, or the last ResetPeak
  void ResetPeak();

 private:
  Allocator* const base_;
  const std::string name_;
  mutable std::mutex mutex_;
  int64_t live_ = 0, blocks_ = 0, peak_ = 0;
  absl::flat_hash_map<size_t, int64_t> blocks_of_size_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_TRACKING_ALLOCATOR_H_
