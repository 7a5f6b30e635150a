// BlockAllocator: device memory taken in large segments, handed out in blocks that are split and joined again.
//
//   BlockAllocator cache(&cuda);                     // over CudaAllocator, as CachingAllocator is over the system
//   void* p = cache.Allocate(3 << 20);  cache.Free(p, 3 << 20);
//
// Asking the driver costs a wait for the device, so nothing is returned to it before it refuses to give more. Unlike
// the host's pages, a device's are all there from the start: a block is as large as asked, up to kGrain bytes more, and
// the rest of a free block stays free. Of the free blocks the smallest that fits is taken; neighbours that are both
// free become one. Small blocks (up to kSmall) live in segments of their own, so that they do not pin large ones.
// When the base has nothing left, segments without a live block go back to it and it is asked again; kKeep forbids it,
// for memory whose addresses are still in use after it was freed (tensor/cuda_graph.h).
// A freed block may be handed out at once although kernels that use it still wait in ComputeStream(): whoever gets it
// uses it on the same stream, so after them. Memory that another stream uses must be held until an event of that
// stream. Threads: any. Destruction returns all segments; live blocks must have been freed.
#ifndef LORIKEET_TENSOR_BLOCK_ALLOCATOR_H_
#define LORIKEET_TENSOR_BLOCK_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "tensor/allocator.h"
#include "tensor/device.h"

namespace lorikeet {

class BlockAllocator : public Allocator {
 public:
  static constexpr size_t kGrain = 512;  // sizes are multiples of it
  static constexpr size_t kSmall = size_t{1} << 20;
  static constexpr size_t kSmallSegment = size_t{2} << 20;
  static constexpr size_t kLargeSegment = size_t{32} << 20;  // or what is asked for, in multiples of 2 MiB

  enum class Segments : uint8_t { kReturn, kKeep };

  explicit BlockAllocator(Allocator* base, Segments segments = Segments::kReturn) : base_(base), segments_(segments) {}
  ~BlockAllocator() override;

  void* Allocate(size_t bytes) override;
  void Free(void* p, size_t bytes) override;
  Device device() const override { return base_->device(); }
  std::string Report() const override;

  // Returns every segment without a live block to the base.
  void Trim();

  struct Stats {
    int64_t live_bytes = 0;    // of blocks handed out, rounded to kGrain
    int64_t held_bytes = 0;    // of segments
    int64_t largest_free = 0;  // block
    int64_t segments = 0;
    int64_t misses = 0;  // allocations that needed a new segment
  };
  Stats stats() const;

 private:
  struct Block {
    char* data;
    size_t size;
    bool small;
    bool free = false;
    Block *before = nullptr, *after = nullptr;  // in its segment
  };
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return std::pair(a->size, a->data) < std::pair(b->size, b->data);
    }
  };
  using FreeBlocks = std::set<Block*, BySize>;

  FreeBlocks& FreeOf(bool small) { return small ? free_small_ : free_large_; }
  Block* TakeFree(size_t size, bool small);
  Block* NewSegment(size_t size, bool small);
  void Split(Block* block, size_t size);
  void Join(Block* block, Block* next);  // `next` disappears
  void ReleaseFreeSegments(FreeBlocks& blocks);

  Allocator* const base_;
  const Segments segments_;
  mutable std::mutex mutex_;
  FreeBlocks free_small_, free_large_;
  std::unordered_map<void*, std::unique_ptr<Block>> blocks_;  // live and free, by address
  Stats stats_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_BLOCK_ALLOCATOR_H_
