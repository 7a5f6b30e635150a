#include "tensor/block_allocator.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/fake_allocator_for_test.h"
#include "tensor/random.h"

namespace lorikeet {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(BlockAllocator, BlocksOfASegmentLieSideBySideAndJoinAgain) {
  FakeAllocator fake(64 * kMiB);
  BlockAllocator cache(&fake);
  char* const a = static_cast<char*>(cache.Allocate(4 * kMiB));
  char* const b = static_cast<char*>(cache.Allocate(4 * kMiB));
  char* const c = static_cast<char*>(cache.Allocate(4 * kMiB));
  EXPECT_EQ(b, a + 4 * kMiB);
  EXPECT_EQ(c, b + 4 * kMiB);
  EXPECT_EQ(fake.allocations(), 1);
  cache.Free(a, 4 * kMiB);
  cache.Free(c, 4 * kMiB);
  cache.Free(b, 4 * kMiB);  // joins with both
  EXPECT_EQ(cache.stats().largest_free, static_cast<int64_t>(BlockAllocator::kLargeSegment));
  EXPECT_EQ(cache.Allocate(32 * kMiB), a);
  cache.Free(a, 32 * kMiB);
}

TEST(BlockAllocator, TheSmallestBlockThatFitsIsTaken) {
  FakeAllocator fake(64 * kMiB);
  BlockAllocator cache(&fake);
  void* const big = cache.Allocate(8 * kMiB);
  void* const between = cache.Allocate(2 * kMiB);
  void* const fitting = cache.Allocate(3 * kMiB);
  void* const last = cache.Allocate(2 * kMiB);
  cache.Free(big, 8 * kMiB);
  cache.Free(fitting, 3 * kMiB);
  EXPECT_EQ(cache.Allocate(3 * kMiB), fitting);
  for (void* p : {between, fitting, last}) cache.Free(p, 0);
}

TEST(BlockAllocator, ABlockIsAsLargeAsAskedUpToTheGrain) {
  FakeAllocator fake(64 * kMiB);
  BlockAllocator cache(&fake);
  for (size_t bytes : std::vector<size_t>{1, 511, 512, 513, kMiB, kMiB + 1, 5 * kMiB + 7}) {
    void* const p = cache.Allocate(bytes);
    ASSERT_NE(p, nullptr) << bytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % Allocator::kAlignment, 0u);
    EXPECT_GE(cache.stats().live_bytes, static_cast<int64_t>(bytes));
    EXPECT_LT(cache.stats().live_bytes, static_cast<int64_t>(bytes + BlockAllocator::kGrain));
    cache.Free(p, bytes);
  }
}

TEST(BlockAllocator, SmallBlocksPinNoLargeSegment) {
  FakeAllocator fake(64 * kMiB);
  BlockAllocator cache(&fake);
  void* const large = cache.Allocate(20 * kMiB);
  void* const small = cache.Allocate(100);
  cache.Free(large, 20 * kMiB);
  cache.Trim();
  EXPECT_EQ(fake.held(), BlockAllocator::kSmallSegment);
  cache.Free(small, 100);
}

TEST(BlockAllocator, WhenTheBaseHasNothingLeftFreeSegmentsGoBackFirst) {
  FakeAllocator fake(100 * kMiB);
  BlockAllocator cache(&fake);
  void* const a = cache.Allocate(60 * kMiB);
  cache.Free(a, 60 * kMiB);
  void* const b = cache.Allocate(80 * kMiB);
  EXPECT_NE(b, nullptr);
  EXPECT_EQ(fake.held(), 80 * kMiB);
  EXPECT_EQ(cache.Allocate(30 * kMiB), nullptr);  // 20 are left
  void* const c = cache.Allocate(20 * kMiB);      // less than a segment, for want of one
  EXPECT_NE(c, nullptr);
  EXPECT_NE(cache.Report().find("104 MB held in 2 segments"), std::string::npos) << cache.Report();
  cache.Free(b, 80 * kMiB);
  cache.Free(c, 20 * kMiB);
}

TEST(BlockAllocator, SegmentsThatAreKeptGoBackByTrimOnly) {
  FakeAllocator fake(100 * kMiB);
  BlockAllocator cache(&fake, BlockAllocator::Segments::kKeep);
  cache.Free(cache.Allocate(60 * kMiB), 60 * kMiB);
  EXPECT_EQ(cache.Allocate(80 * kMiB), nullptr);
  EXPECT_EQ(fake.held(), 60 * kMiB);
  void* const b = cache.Allocate(50 * kMiB);  // in what is kept
  EXPECT_EQ(fake.held(), 60 * kMiB);
  cache.Free(b, 50 * kMiB);
  cache.Trim();
  EXPECT_EQ(fake.held(), 0u);
}

TEST(BlockAllocator, NoTwoLiveBlocksOverlapWhateverTheOrder) {
  FakeAllocator fake(size_t{1} << 30);
  BlockAllocator cache(&fake);
  std::vector<std::pair<char*, size_t>> live;
  for (uint64_t i = 0; i < 3000; ++i) {
    const PhiloxBlock r = Philox({.seed = 5}, i);
    if (live.size() > 40 || (!live.empty() && r.v[0] % 3 == 0)) {
      const size_t k = r.v[1] % live.size();
      const auto [p, size] = live[k];
      ASSERT_TRUE(std::all_of(p, p + size, [s = static_cast<char>(size)](char c) { return c == s; }));
      cache.Free(p, size);
      live.erase(live.begin() + static_cast<int64_t>(k));
    } else {
      const size_t size = 1 + r.v[2] % (size_t{1} << (r.v[3] % 22));
      char* const p = static_cast<char*>(cache.Allocate(size));
      ASSERT_NE(p, nullptr);
      std::memset(p, static_cast<char>(size), size);
      live.push_back({p, size});
    }
  }
  for (const auto& [p, size] : live) cache.Free(p, size);
  cache.Trim();
  EXPECT_EQ(fake.held(), 0u);  // all joined to whole segments again
}

TEST(BlockAllocatorDeathTest, ABlockFreedTwiceEndsTheProcess) {
  FakeAllocator fake(64 * kMiB);
  BlockAllocator cache(&fake);
  void* const p = cache.Allocate(100);
  cache.Free(p, 100);
  EXPECT_DEATH(cache.Free(p, 100), "did not hand out");
}

}  // namespace
}  // namespace lorikeet
