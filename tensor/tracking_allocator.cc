#include "tensor/tracking_allocator.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "tensor/check.h"

namespace lorikeet {
namespace {

constexpr size_t kReported = 8;

std::string Megabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

void* TrackingAllocator::Allocate(size_t bytes) {
  void* const p = base_->Allocate(bytes);
  if (p == nullptr) return nullptr;
  std::lock_guard<std::mutex> lock(mutex_);
  live_ += static_cast<int64_t>(bytes);
  peak_ = std::max(peak_, live_);
  ++blocks_;
  ++blocks_of_size_[bytes];
  return p;
}

void TrackingAllocator::Free(void* p, size_t bytes) {
  if (p == nullptr) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto it = blocks_of_size_.find(bytes);
    LORIKEET_CHECK(it != blocks_of_size_.end()) << name_ << ": freed a block of " << bytes << " bytes, none is live";
    if (--it->second == 0) blocks_of_size_.erase(it);
    live_ -= static_cast<int64_t>(bytes);
    --blocks_;
  }
  base_->Free(p, bytes);
}

std::string TrackingAllocator::Report() const {
  std::vector<std::pair<size_t, int64_t>> holders;
  std::string text;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    holders.assign(blocks_of_size_.begin(), blocks_of_size_.end());
    text = name_ + ": " + Megabytes(live_) + " live in " + std::to_string(blocks_) + " blocks, at most " +
           Megabytes(peak_) + "\n";
  }
  const auto held = [](const auto& h) { return static_cast<int64_t>(h.first) * h.second; };
  std::sort(holders.begin(), holders.end(),
            [&](const auto& a, const auto& b) { return held(a) != held(b) ? held(a) > held(b) : a.first > b.first; });
  for (size_t i = 0; i < std::min(kReported, holders.size()); ++i) {
    text += "  " + Megabytes(held(holders[i])) + " in " + std::to_string(holders[i].second) + " x " +
            std::to_string(holders[i].first) + " bytes\n";
  }
  return text + base_->Report();
}

int64_t TrackingAllocator::live_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return live_;
}

int64_t TrackingAllocator::live_blocks() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return blocks_;
}

int64_t TrackingAllocator::peak_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return peak_;
}

void TrackingAllocator::ResetPeak() {
  std::lock_guard<std::mutex> lock(mutex_);
  peak_ = live_;
}

}  // namespace lorikeet
