#include "tensor/caching_allocator.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/allocator.h"
#include "tensor/fake_allocator_for_test.h"

namespace lorikeet {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(CachingAllocator, AFreedBlockIsHandedOutAgainForAnySizeOfItsClass) {
  FakeAllocator fake(kMiB);
  CachingAllocator cache(&fake);
  void* const p = cache.Allocate(1000);
  cache.Free(p, 1000);
  EXPECT_EQ(cache.Allocate(900), p);
  cache.Free(p, 900);
  EXPECT_EQ(fake.allocations(), 1);
  EXPECT_EQ(cache.stats().hits, 1);
}

TEST(CachingAllocator, TheBlockFreedLastComesFirst) {
  FakeAllocator fake(kMiB);
  CachingAllocator cache(&fake);
  void* const a = cache.Allocate(4096);
  void* const b = cache.Allocate(4096);
  cache.Free(a, 4096);
  cache.Free(b, 4096);
  EXPECT_EQ(cache.Allocate(4096), b);
  EXPECT_EQ(cache.Allocate(4096), a);
  cache.Free(a, 4096);
  cache.Free(b, 4096);
}

TEST(CachingAllocator, ABlockIsNeverSmallerThanAskedNorMuchLarger) {
  for (size_t bytes : std::vector<size_t>{1, 63, 64, 65, 256, 257, 320, 321, 511, 512, 513, 4095, 4096, 4097, 3 * kMiB,
                                          3 * kMiB + 1}) {
    FakeAllocator fake(8 * kMiB);
    CachingAllocator cache(&fake);
    void* const p = cache.Allocate(bytes);
    EXPECT_GE(fake.held(), bytes);
    EXPECT_LE(fake.held(), bytes + bytes / 4 + 64) << bytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % Allocator::kAlignment, 0u);
    cache.Free(p, bytes);
  }
}

TEST(CachingAllocator, ReturnsIdleBlocksAndAsksAgainWhenTheBaseIsExhausted) {
  FakeAllocator fake(10 * kMiB);
  CachingAllocator cache(&fake);
  void* const p = cache.Allocate(8 * kMiB);
  cache.Free(p, 8 * kMiB);
  EXPECT_EQ(fake.held(), 8 * kMiB);
  void* const q = cache.Allocate(6 * kMiB);  // another class: there is room only without the idle block
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(fake.held(), 6 * kMiB);
  EXPECT_EQ(cache.Allocate(6 * kMiB), nullptr);
  cache.Free(q, 6 * kMiB);
}

TEST(CachingAllocator, HoldsNoMoreThanWasLiveAtOnceLatelyPlusAnEighthAndSlack) {
  FakeAllocator fake(size_t{1} << 40);
  CachingAllocator cache(&fake);
  size_t peak = 0;
  for (size_t size = kMiB; size < 40 * kMiB; size += kMiB) {  // one block at a time, each of another size
    void* const p = cache.Allocate(size);
    peak = std::max(peak, size);
    EXPECT_LE(fake.held(), (peak + peak / 4) * 9 / 8 + CachingAllocator::kSlack);
    cache.Free(p, size);
    EXPECT_LE(fake.held(), (peak + peak / 4) * 9 / 8 + CachingAllocator::kSlack);
  }
}

TEST(CachingAllocator, AStepWhoseShapesRepeatNeedsNothingNew) {
  FakeAllocator fake(size_t{1} << 40);
  CachingAllocator cache(&fake);
  for (int step = 0; step < 3; ++step) {
    std::vector<std::pair<void*, size_t>> saved;
    for (size_t i = 1; i <= 100; ++i) saved.push_back({cache.Allocate(i * 10000), i * 10000});
    for (auto [p, bytes] : saved) cache.Free(p, bytes);
    EXPECT_EQ(cache.stats().misses, 100);
  }
}

TEST(CachingAllocator, ForgetsAPeakAfterTwoWindows) {
  FakeAllocator fake(size_t{1} << 40);
  CachingAllocator cache(&fake);
  void* const big = cache.Allocate(512 * kMiB);
  cache.Free(big, 512 * kMiB);
  EXPECT_EQ(cache.stats().idle_bytes, static_cast<int64_t>(512 * kMiB));
  for (int64_t i = 0; i < 2 * CachingAllocator::kWindow; ++i) cache.Free(cache.Allocate(64), 64);
  EXPECT_LT(cache.stats().idle_bytes, static_cast<int64_t>(kMiB));
}

TEST(CachingAllocator, TrimReturnsEveryIdleBlock) {
  FakeAllocator fake(kMiB);
  CachingAllocator cache(&fake);
  void* const live = cache.Allocate(512);
  cache.Free(cache.Allocate(4096), 4096);
  cache.Trim();
  EXPECT_EQ(fake.held(), 512u);
  EXPECT_EQ(cache.stats().idle_bytes, 0);
  cache.Free(live, 512);
}

TEST(CachingAllocator, TooLargeASizeIsNullNotAWrapAround) {
  FakeAllocator fake(kMiB);
  CachingAllocator cache(&fake);
  EXPECT_EQ(cache.Allocate(SIZE_MAX), nullptr);
  EXPECT_EQ(cache.Allocate(SIZE_MAX / 4), nullptr);
  EXPECT_EQ(cache.Allocate(0), nullptr);
  cache.Free(nullptr, 0);
}

TEST(CachingAllocator, ThreadsNeverShareABlock) {
  FakeAllocator fake(size_t{1} << 40);
  CachingAllocator cache(&fake);
  int mixed[4] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, &mixed, t] {
      for (int i = 0; i < 500; ++i) {
        const size_t bytes = 64 + 64 * static_cast<size_t>(i % 7);
        unsigned char* const p = static_cast<unsigned char*>(cache.Allocate(bytes));
        std::memset(p, t, bytes);
        std::this_thread::yield();
        for (size_t k = 0; k < bytes; ++k) mixed[t] += p[k] != t;
        cache.Free(p, bytes);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (int count : mixed) EXPECT_EQ(count, 0);
}

}  // namespace
}  // namespace lorikeet
