#include "tensor/caching_allocator.h"

#include <algorithm>
#include <bit>

namespace lorikeet {

// Classes 0..3 are 64, 128, 192, 256 bytes; after those each power of two 2^k, k >= 8, has four steps of 2^(k - 2).
int CachingAllocator::ClassOf(size_t bytes) {
  if (bytes <= 256) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / 64);
  const int k = std::bit_width(bytes - 1) - 1;
  return 4 * (k - 7) + static_cast<int>(((bytes - 1) >> (k - 2)) & 3);
}

size_t CachingAllocator::BytesOf(int size_class) {
  if (size_class < 4) return 64 * static_cast<size_t>(size_class + 1);
  const int k = size_class / 4 + 7;
  return static_cast<size_t>(5 + size_class % 4) << (k - 2);
}

CachingAllocator::~CachingAllocator() { ReleaseAll(); }

void* CachingAllocator::Allocate(size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX / 4) return nullptr;
  std::lock_guard<std::mutex> lock(mutex_);
  const int size_class = ClassOf(bytes);
  const size_t size = BytesOf(size_class);
  std::deque<Idle>& idle = idle_[size_class];
  void* block = nullptr;
  if (!idle.empty()) {
    block = idle.back().block;
    idle.pop_back();
    idle_bytes_ -= size;
    ++hits_;
  } else {
    while (idle_bytes_ > 0 && live_ + size + idle_bytes_ > std::max(Bound(), live_ + size)) ReleaseOldest();
    block = base_->Allocate(size);
    if (block == nullptr) {
      ReleaseAll();
      block = base_->Allocate(size);
    }
    if (block == nullptr) return nullptr;
    ++misses_;
  }
  Count(size);
  return block;
}

void CachingAllocator::Free(void* p, size_t bytes) {
  if (p == nullptr) return;
  std::lock_guard<std::mutex> lock(mutex_);
  const int size_class = ClassOf(bytes);
  const size_t size = BytesOf(size_class);
  live_ -= size;
  idle_[size_class].push_back({p, clock_});
  idle_bytes_ += size;
  while (idle_bytes_ > 0 && live_ + idle_bytes_ > Bound()) ReleaseOldest();
}

void CachingAllocator::Count(size_t size) {
  live_ += size;
  window_peak_ = std::max(window_peak_, live_);
  if (++clock_ % kWindow != 0) return;
  last_window_peak_ = window_peak_;
  window_peak_ = live_;
}

size_t CachingAllocator::Bound() const {
  const size_t peak = std::max(window_peak_, last_window_peak_);
  return peak + peak / 8 + kSlack;
}

void CachingAllocator::ReleaseOldest() {
  int oldest = -1;
  for (int c = 0; c < kClasses; ++c) {
    if (idle_[c].empty()) continue;
    if (oldest < 0 || idle_[c].front().freed_at < idle_[oldest].front().freed_at) oldest = c;
  }
  void* const block = idle_[oldest].front().block;
  idle_[oldest].pop_front();
  idle_bytes_ -= BytesOf(oldest);
  base_->Free(block, BytesOf(oldest));
}

void CachingAllocator::ReleaseAll() {
  for (int c = 0; c < kClasses; ++c) {
    for (const Idle& idle : idle_[c]) base_->Free(idle.block, BytesOf(c));
    idle_[c].clear();
  }
  idle_bytes_ = 0;
}

void CachingAllocator::Trim() {
  std::lock_guard<std::mutex> lock(mutex_);
  ReleaseAll();
  window_peak_ = last_window_peak_ = live_;
}

CachingAllocator::Stats CachingAllocator::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return {static_cast<int64_t>(live_), static_cast<int64_t>(idle_bytes_), hits_, misses_};
}

std::string CachingAllocator::Report() const {
  const Stats s = stats();
  return "cache: " + std::to_string(s.idle_bytes / 1000000) + " MB idle, " + std::to_string(s.misses) + " of " +
         std::to_string(s.hits + s.misses) + " allocations were new\n" + base_->Report();
}

}  // namespace lorikeet
