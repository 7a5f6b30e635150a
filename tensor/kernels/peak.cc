#include "tensor/kernels/peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "tensor/kernels/matmul_tile.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/peak_loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/peak.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

double LoopFma(int64_t rounds, float* sink) {
  const hn::CappedTag<float, 16> d;
  // Chains that start apart, so that they are not merged into one.
  auto s0 = hn::Iota(d, 0), s1 = hn::Iota(d, 1), s2 = hn::Iota(d, 2), s3 = hn::Iota(d, 3), s4 = hn::Iota(d, 4);
  auto s5 = hn::Iota(d, 5), s6 = hn::Iota(d, 6), s7 = hn::Iota(d, 7), s8 = hn::Iota(d, 8), s9 = hn::Iota(d, 9);
  auto s10 = hn::Iota(d, 10), s11 = hn::Iota(d, 11);
  const auto x = hn::Set(d, 0.5F), y = hn::Set(d, *sink + 0.25F);
  for (int64_t i = 0; i < rounds; ++i) {
    s0 = hn::MulAdd(s0, x, y);
    s1 = hn::MulAdd(s1, x, y);
    s2 = hn::MulAdd(s2, x, y);
    s3 = hn::MulAdd(s3, x, y);
    s4 = hn::MulAdd(s4, x, y);
    s5 = hn::MulAdd(s5, x, y);
    s6 = hn::MulAdd(s6, x, y);
    s7 = hn::MulAdd(s7, x, y);
    s8 = hn::MulAdd(s8, x, y);
    s9 = hn::MulAdd(s9, x, y);
    s10 = hn::MulAdd(s10, x, y);
    s11 = hn::MulAdd(s11, x, y);
  }
  const auto low = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(s4, s5));
  const auto high = hn::Add(hn::Add(hn::Add(s6, s7), hn::Add(s8, s9)), hn::Add(s10, s11));
  *sink += hn::GetLane(hn::SumOfLanes(d, hn::Add(low, high)));
  return static_cast<double>(rounds) * kPeakChains * static_cast<double>(hn::Lanes(d)) * 2;
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet {
namespace internal {

HWY_EXPORT(LoopFma);
double LoopF32(int64_t rounds, float* sink) { return HWY_DYNAMIC_DISPATCH(LoopFma)(rounds, sink); }

}  // namespace internal

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 8;
constexpr int64_t kTasksPerThread = 16;
constexpr int64_t kLoops = 20000;  // some 0.1 ms a task

// The most that work() gets done a second, by its own count, over kRounds runs with this many threads.
template <typename F>
double BestRate(int threads, F&& work) {
  const int before = NumThreads();
  SetNumThreads(threads);
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = Clock::now();
    const double done = work();
    best = std::max(best, done / std::chrono::duration<double>(Clock::now() - start).count());
  }
  SetNumThreads(before);
  return best;
}

}  // namespace

double MeasurePeakFlops(DType dtype, int threads) {
  const auto loop = dtype == DType::kBF16 && internal::HaveBF16Dot() ? internal::LoopBF16Dot : internal::LoopF32;
  const int64_t tasks = kTasksPerThread * threads;
  std::vector<double> flops(static_cast<size_t>(tasks));
  volatile float sink = 0;
  return BestRate(threads, [&] {
    ParallelFor(tasks, 1, [&](int64_t task, int64_t) {
      float mine = 0;
      flops[static_cast<size_t>(task)] = loop(kLoops, &mine);
      if (mine < 0) sink = mine;  // never, but the compiler does not know
    });
    double sum = 0;
    for (double f : flops) sum += f;
    return sum;
  });
}

double MeasureCopyBandwidth(int threads) {
  constexpr int64_t kBytes = int64_t{96} << 20, kChunk = int64_t{1} << 20;
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  return BestRate(threads, [&] {
    ParallelFor(kBytes, kChunk, [&](int64_t begin, int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<size_t>(end - begin));
    });
    return 2.0 * static_cast<double>(kBytes);
  });
}

}  // namespace lorikeet
#endif  // HWY_ONCE
