#include <cmath>
#include <cstdint>
#include <numbers>

#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/random.h"
#include "tensor/random.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::DispatchCompute;
using internal::kBlock;
using internal::MapBlocks;

constexpr int64_t kCounters =
    32;  // Philox blocks at a time: arrays that the compiler turns into vectors (it unrolls 16 instead)

// Philox blocks counter .. counter + kCounters - 1, word j of block b in out[4 * b + j]. The same function as
// tensor/random.h's.
void PhiloxBlocks(RngKey key, uint64_t counter, uint32_t* out) {
  uint32_t c0[kCounters], c1[kCounters], c2[kCounters], c3[kCounters];
  for (int64_t b = 0; b < kCounters; ++b) {
    const uint64_t c = counter + static_cast<uint64_t>(b);
    c0[b] = static_cast<uint32_t>(c);
    c1[b] = static_cast<uint32_t>(c >> 32);
    c2[b] = static_cast<uint32_t>(key.stream);
    c3[b] = static_cast<uint32_t>(key.stream >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int64_t b = 0; b < kCounters; ++b) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0[b], p1 = uint64_t{0xCD9E8D57u} * c2[b];
      c0[b] = static_cast<uint32_t>(p1 >> 32) ^ c1[b] ^ k0;
      c2[b] = static_cast<uint32_t>(p0 >> 32) ^ c3[b] ^ k1;
      c1[b] = static_cast<uint32_t>(p1);
      c3[b] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int64_t b = 0; b < kCounters; ++b) {
    out[4 * b] = c0[b];
    out[4 * b + 1] = c1[b];
    out[4 * b + 2] = c2[b];
    out[4 * b + 3] = c3[b];
  }
}

// The words of elements [first, first + n), n <= kBlock.
class Words {
 public:
  Words(RngKey key, int64_t first, int64_t n) : skip_(first % 4) {
    for (int64_t at = 0; at < skip_ + n; at += 4 * kCounters) {
      PhiloxBlocks(key, static_cast<uint64_t>((first + at) / 4), words_ + at);
    }
  }
  const uint32_t* begin() const { return words_ + skip_; }

 private:
  int64_t skip_;
  uint32_t words_[kBlock + 8 * kCounters];
};

void Uniform(double lo, double hi, RngKey key, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    MapBlocks<C, 0, 1>({}, {y}, [&](auto, auto out, int64_t first, int64_t n) {
      const Words words(key, first, n);
      const uint32_t* w = words.begin();
      for (int64_t i = 0; i < n; ++i)
        out[0][i] = static_cast<C>(lo + (hi - lo) * static_cast<double>(ToUnitFloat(w[i])));
    });
  });
}

// A pair may begin in one block and end in the next; each then computes it.
double NormalAt(const uint32_t* pair, bool second) {
  const double r = std::sqrt(-2 * std::log((pair[0] + 1.0) * 0x1p-32));
  const double angle = 2 * std::numbers::pi * (pair[1] * 0x1p-32);
  return r * (second ? std::sin(angle) : std::cos(angle));
}

void Normal(double mean, double std, RngKey key, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    MapBlocks<C, 0, 1>({}, {y}, [&](auto, auto out, int64_t first, int64_t n) {
      const int64_t even = first & ~int64_t{1};
      const Words words(key, even, n + 2);
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = first + i - even;
        out[0][i] = static_cast<C>(mean + std * NormalAt(words.begin() + (at & ~int64_t{1}), at & 1));
      }
    });
  });
}

// u(w) >= p, in integers: w >> 8 >= ceil(p * 2^24), which is exact.
void Dropout(View x, double p, RngKey key, View y, LaunchContext) {
  const int32_t threshold = static_cast<int32_t>(std::ceil(static_cast<float>(p) * 0x1p24f));
  const float scale = static_cast<float>(1 / (1 - p));
  DispatchCompute(y.dtype, [&]<typename C>() {
    MapBlocks<C, 1, 1>({x}, {y}, [=](auto in, auto out, int64_t first, int64_t n) {
      const Words words(key, first, n);
      const uint32_t* w = words.begin();
      C* b = out[0];
      // Two loops, because a product under a condition is not vectorized.
      for (int64_t i = 0; i < n; ++i) b[i] = in[0][i] * static_cast<C>(scale);
      for (int64_t i = 0; i < n; ++i) b[i] = static_cast<int32_t>(w[i] >> 8) >= threshold ? b[i] : C{0};
    });
  });
}

}  // namespace

const RandomKernels kCpuRandom = {.uniform = Uniform, .normal = Normal, .dropout = Dropout};

}  // namespace lorikeet
