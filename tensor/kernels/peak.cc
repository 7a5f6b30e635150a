#include "tensor/kernels/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
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

// The exclusive or of all words, so that each is read.
uint64_t LoopRead(const uint64_t* x, int64_t n) {
  const hn::CappedTag<uint64_t, 8> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  for (int64_t i = 0; i + 4 * lanes <= n; i += 4 * lanes) {
    __builtin_prefetch(x + i + 512);
    s0 = hn::Xor(s0, hn::LoadU(d, x + i));
    s1 = hn::Xor(s1, hn::LoadU(d, x + i + lanes));
    s2 = hn::Xor(s2, hn::LoadU(d, x + i + 2 * lanes));
    s3 = hn::Xor(s3, hn::LoadU(d, x + i + 3 * lanes));
  }
  return hn::GetLane(hn::Xor(hn::Xor(s0, s1), hn::Xor(s2, s3)));
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet {
namespace internal {

HWY_EXPORT(LoopFma);
HWY_EXPORT(LoopRead);
double LoopF32(int64_t rounds, float* sink) { return HWY_DYNAMIC_DISPATCH(LoopFma)(rounds, sink); }
static uint64_t ReadWords(const uint64_t* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(LoopRead)(x, n); }

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
  auto loop = internal::LoopF32;
  if (dtype == DType::kBF16 && internal::HaveBF16Dot()) loop = internal::LoopBF16Dot;
  if (dtype == DType::kBF16 && internal::HaveAmx()) loop = internal::LoopBF16Amx;
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

double MeasureReadBandwidth(int threads) {
  constexpr int64_t kBytes = int64_t{192} << 20, kChunk = int64_t{1} << 20;
  const std::vector<uint64_t> from(kBytes / 8, 1);
  volatile uint64_t sink = 0;
  return BestRate(threads, [&] {
    ParallelFor(kBytes / 8, kChunk / 8, [&](int64_t begin, int64_t end) {
      const uint64_t mine = internal::ReadWords(from.data() + begin, end - begin);
      if (mine == 7) sink = mine;  // never, but the compiler does not know
    });
    return static_cast<double>(kBytes);
  });
}

}  // namespace lorikeet
#endif  // HWY_ONCE
