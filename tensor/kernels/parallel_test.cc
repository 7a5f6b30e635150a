#include "tensor/kernels/parallel.h"

#include <atomic>
#include <vector>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

TEST(ParallelTest, EveryIndexIsVisitedOnceForAnyNumberOfThreads) {
  for (int threads : {1, 2, 3, 7}) {
    SetNumThreads(threads);
    EXPECT_EQ(NumThreads(), threads);
    std::vector<std::atomic<int>> seen(1001);
    ParallelFor(1001, 16, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(begin % 16, 0);
      for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
    });
    for (const auto& s : seen) EXPECT_EQ(s, 1);
  }
  SetNumThreads(0);
}

TEST(ParallelTest, ALoopInsideALoopRunsInItsThread) {
  std::atomic<int64_t> sum{0};
  ParallelFor(8, 1, [&](int64_t, int64_t) { ParallelFor(10, 3, [&](int64_t b, int64_t e) { sum += e - b; }); });
  EXPECT_EQ(sum, 80);
}

TEST(ParallelTest, ManyShortLoopsFinish) {
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 2000; ++i) ParallelFor(4, 1, [&](int64_t b, int64_t) { sum += b; });
  EXPECT_EQ(sum, 2000 * 6);
}

TEST(ParallelTest, AnEmptyLoopDoesNothing) {
  ParallelFor(0, 4, [&](int64_t, int64_t) { FAIL(); });
  SUCCEED();
}

}  // namespace
}  // namespace lorikeet
