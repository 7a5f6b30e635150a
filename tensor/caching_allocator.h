// CachingAllocator: keeps freed blocks and hands them out again, since fresh pages cost more than most operations.
//
//   CachingAllocator cache(&system);
//   void* p = cache.Allocate(1 << 20);  cache.Free(p, 1 << 20);
//   cache.Allocate(1 << 20) == p;                                    // the block freed last comes first: it is warm
//
// Sizes are rounded up to classes, four to a power of two (64, 128, 192, 256, 320, 384, 448, 512, 640, ...), so a block
// is at most a quarter larger than asked; of a large block the rest is address space that is never touched.
// How much it keeps: live and idle blocks together stay below the most that was live at once lately, plus an eighth,
// plus 64 MiB. So a training step, whose shapes repeat, runs without a new page, and the cache never makes a process
// much larger than its own peak. "Lately" is the last one to two windows of kWindow allocations, so that the peak of
// loading a model is forgotten; Trim() forgets it at once. What is idle longest goes first.
// When the base has nothing left, every idle block is returned to it and it is asked again.
// Threads: any. Destruction returns idle blocks; live ones must have been freed.
#ifndef LORIKEET_TENSOR_CACHING_ALLOCATOR_H_
#define LORIKEET_TENSOR_CACHING_ALLOCATOR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "tensor/allocator.h"
#include "tensor/device.h"

namespace lorikeet {

class CachingAllocator : public Allocator {
 public:
  static constexpr size_t kSlack = size_t{64} << 20;
  static constexpr int64_t kWindow = 32 * 1024;  // allocations: a step or more

  explicit CachingAllocator(Allocator* base) : base_(base) {}
  ~CachingAllocator() override;

  void* Allocate(size_t bytes) override;
  void Free(void* p, size_t bytes) override;
  Device device() const override { return base_->device(); }
  std::string Report() const override;

  // Returns every idle block to the base, and forgets the peak.
  void Trim();

  struct Stats {
    int64_t live_bytes = 0;  // as rounded
    int64_t idle_bytes = 0;
    int64_t hits = 0;    // allocations served from idle blocks
    int64_t misses = 0;  // allocations that went to the base
  };
  Stats stats() const;

 private:
  struct Idle {
    void* block;
    int64_t freed_at;  // on the clock of all allocations
  };
  static constexpr int kClasses = 256;
  static int ClassOf(size_t bytes);
  static size_t BytesOf(int size_class);

  void Count(size_t bytes);
  size_t Bound() const;
  void ReleaseOldest();
  void ReleaseAll();

  Allocator* const base_;
  mutable std::mutex mutex_;
  std::array<std::deque<Idle>, kClasses> idle_;  // of each class, the oldest in front
  size_t live_ = 0, idle_bytes_ = 0;
  size_t window_peak_ = 0, last_window_peak_ = 0;
  int64_t clock_ = 0, hits_ = 0, misses_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_CACHING_ALLOCATOR_H_
