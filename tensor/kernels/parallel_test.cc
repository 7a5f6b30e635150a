#include "tensor/kernels/parallel.h"

#include <atomic>
#include <chrono>
#include <thread>
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

TEST(ParallelTest, WhatTasksWroteIsSeenByTheCallerAndTheNextLoop) {
  SetNumThreads(3);
  std::vector<int64_t> values(100, 0);
  for (int64_t round = 1; round <= 500; ++round) {
    ParallelFor(100, 7, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) values[static_cast<size_t>(i)] += values[static_cast<size_t>(i)] == round - 1;
    });
    ASSERT_EQ(values, std::vector<int64_t>(100, round));
  }
  SetNumThreads(0);
}

TEST(ParallelTest, LoopsFromSeveralThreadsTakeTurns) {
  SetNumThreads(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) ParallelFor(10, 2, [&](int64_t b, int64_t e) { sum += e - b; });
    });
  }
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(sum, 3 * 200 * 10);
  SetNumThreads(0);
}

TEST(ParallelTest, ASleepingPoolWakesUp) {
  SetNumThreads(3);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> seen{0};
    ParallelFor(6, 1, [&](int64_t, int64_t) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ++seen;
    });
    EXPECT_EQ(seen, 6);
  }
  SetNumThreads(0);
}

TEST(ParallelTest, AnEmptyLoopDoesNothing) {
  ParallelFor(0, 4, [&](int64_t, int64_t) { FAIL(); });
  SUCCEED();
}

// A worker that is late for one loop must not take a task of the next, larger one before that is published.
TEST(ParallelTest, LoopsOfChangingSizeRunEveryTaskExactlyOnce) {
  for (int threads : {2, 3, 5}) {
    SetNumThreads(threads);
    for (int round = 0; round < 30000; ++round) {
      const int64_t n = round % 2 == 0 ? 2 : 3 + round % 61;
      std::atomic<int64_t> count{0}, sum{0};
      ParallelFor(n, 1, [&](int64_t b, int64_t) {
        count.fetch_add(1, std::memory_order_relaxed);
        sum.fetch_add(b, std::memory_order_relaxed);
      });
      ASSERT_EQ(count, n) << "round " << round;
      ASSERT_EQ(sum, n * (n - 1) / 2) << "round " << round;
    }
  }
  SetNumThreads(0);
}

}  // namespace
}  // namespace lorikeet
