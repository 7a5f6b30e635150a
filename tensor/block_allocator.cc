#include "tensor/block_allocator.h"

#include <algorithm>

#include "tensor/check.h"

namespace lorikeet {
namespace {

constexpr size_t kSegmentGrain = size_t{2} << 20;  // the driver's own page

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

BlockAllocator::~BlockAllocator() { Trim(); }

void* BlockAllocator::Allocate(size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX / 4) return nullptr;
  const size_t size = RoundUp(bytes, kGrain);
  const bool small = size <= kSmall;
  std::lock_guard<std::mutex> lock(mutex_);
  Block* block = TakeFree(size, small);
  if (block == nullptr) block = NewSegment(size, small);
  if (block == nullptr) return nullptr;
  Split(block, size);
  block->free = false;
  stats_.live_bytes += static_cast<int64_t>(block->size);
  return block->data;
}

void BlockAllocator::Free(void* p, size_t) {
  if (p == nullptr) return;
  std::lock_guard<std::mutex> lock(mutex_);
  const auto it = blocks_.find(p);
  LORIKEET_CHECK(it != blocks_.end() && !it->second->free) << "BlockAllocator: freed what it did not hand out";
  Block* block = it->second.get();
  stats_.live_bytes -= static_cast<int64_t>(block->size);
  FreeBlocks& free = FreeOf(block->small);
  if (block->after != nullptr && block->after->free) {
    free.erase(block->after);
    Join(block, block->after);
  }
  if (block->before != nullptr && block->before->free) {
    block = block->before;
    free.erase(block);
    Join(block, block->after);
  }
  block->free = true;
  free.insert(block);
}

BlockAllocator::Block* BlockAllocator::TakeFree(size_t size, bool small) {
  FreeBlocks& free = FreeOf(small);
  Block least{nullptr, size, small};
  const auto it = free.lower_bound(&least);
  if (it == free.end()) return nullptr;
  Block* const block = *it;
  free.erase(it);
  return block;
}

BlockAllocator::Block* BlockAllocator::NewSegment(size_t size, bool small) {
  const size_t least = RoundUp(size, kSegmentGrain);
  size_t segment = small ? kSmallSegment : std::max(kLargeSegment, least);
  void* p = base_->Allocate(segment);
  if (p == nullptr) {
    if (segments_ == Segments::kReturn) {
      ReleaseFreeSegments(free_small_);
      ReleaseFreeSegments(free_large_);
    }
    segment = small ? kSmallSegment : least;  // no more than is needed
    p = base_->Allocate(segment);
  }
  if (p == nullptr) return nullptr;
  ++stats_.segments;
  ++stats_.misses;
  stats_.held_bytes += static_cast<int64_t>(segment);
  std::unique_ptr<Block>& block = blocks_[p];
  block = std::make_unique<Block>(Block{static_cast<char*>(p), segment, small});
  return block.get();
}

// What is left behind `size` becomes a free block; of a large block only if it can serve a large one.
void BlockAllocator::Split(Block* block, size_t size) {
  const size_t rest = block->size - size;
  if (rest < (block->small ? kGrain : kSmall)) return;
  std::unique_ptr<Block>& next = blocks_[block->data + size];
  next = std::make_unique<Block>(Block{block->data + size, rest, block->small, true, block, block->after});
  if (block->after != nullptr) block->after->before = next.get();
  block->after = next.get();
  block->size = size;
  FreeOf(block->small).insert(next.get());
}

void BlockAllocator::Join(Block* block, Block* next) {
  block->size += next->size;
  block->after = next->after;
  if (block->after != nullptr) block->after->before = block;
  blocks_.erase(next->data);
}

void BlockAllocator::ReleaseFreeSegments(FreeBlocks& free) {
  for (auto it = free.begin(); it != free.end();) {
    Block* const block = *it;
    if (block->before != nullptr || block->after != nullptr) {
      ++it;
      continue;
    }
    it = free.erase(it);
    --stats_.segments;
    stats_.held_bytes -= static_cast<int64_t>(block->size);
    base_->Free(block->data, block->size);
    blocks_.erase(block->data);
  }
}

void BlockAllocator::Trim() {
  std::lock_guard<std::mutex> lock(mutex_);
  ReleaseFreeSegments(free_small_);
  ReleaseFreeSegments(free_large_);
}

BlockAllocator::Stats BlockAllocator::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  Stats s = stats_;
  for (const FreeBlocks* free : {&free_small_, &free_large_}) {
    if (!free->empty()) s.largest_free = std::max(s.largest_free, static_cast<int64_t>((*free->rbegin())->size));
  }
  return s;
}

std::string BlockAllocator::Report() const {
  const Stats s = stats();
  const auto mb = [](int64_t bytes) { return std::to_string(bytes / 1000000) + " MB"; };
  return "cache: " + mb(s.held_bytes) + " held in " + std::to_string(s.segments) + " segments, " +
         mb(s.held_bytes - s.live_bytes) + " of it free, the largest piece " + mb(s.largest_free) + "\n" +
         base_->Report();
}

}  // namespace lorikeet
