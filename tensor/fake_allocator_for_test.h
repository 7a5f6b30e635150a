// FakeAllocator: the host's memory with an end.
//
//   FakeAllocator fake(1000);                 // a fourth block of 300 bytes cannot be had
//
// Counts, and checks that every block is freed with the size it was asked for.
#ifndef LORIKEET_TENSOR_FAKE_ALLOCATOR_FOR_TEST_H_
#define LORIKEET_TENSOR_FAKE_ALLOCATOR_FOR_TEST_H_

#include <cstddef>
#include <cstdlib>
#include <map>
#include <mutex>

#include "tensor/allocator.h"
#include "tensor/check.h"

namespace lorikeet {

class FakeAllocator : public Allocator {
 public:
  explicit FakeAllocator(size_t capacity) : capacity_(capacity) {}
  ~FakeAllocator() override { LORIKEET_CHECK(sizes_.empty()) << sizes_.size() << " blocks were never freed"; }

  void* Allocate(size_t bytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (bytes > capacity_ - held_) return nullptr;
    void* const p = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    sizes_[p] = bytes;
    held_ += bytes;
    ++allocations_;
    return p;
  }
  void Free(void* p, size_t bytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    LORIKEET_CHECK(sizes_.count(p) == 1 && sizes_[p] == bytes) << "freed with another size than it was asked for";
    sizes_.erase(p);
    held_ -= bytes;
    std::free(p);
  }

  size_t held() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return held_;
  }
  int allocations() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return allocations_;
  }

 private:
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::map<void*, size_t> sizes_;
  size_t held_ = 0;
  int allocations_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_FAKE_ALLOCATOR_FOR_TEST_H_
