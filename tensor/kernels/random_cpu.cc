#include <cmath>
#include <cstdint>
#include <numbers>

#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/vec_random.h"
#include "tensor/random.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::DispatchCompute;
using internal::DispatchRuns;
using internal::kBlock;
using internal::MapBlocks;

// The words of elements [first, first + n), n <= kBlock.
class Words {
 public:
  Words(RngKey key, int64_t first, int64_t n) : skip_(first % 4) {
    internal::VecPhilox(key, static_cast<uint64_t>(first / 4), (skip_ + n + 3) / 4, words_);
  }
  const uint32_t* begin() const { return words_ + skip_; }

 private:
  int64_t skip_;
  uint32_t words_[kBlock + 8 * internal::kPhiloxBlocks];
};

void Uniform(double lo, double hi, RngKey key, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    MapBlocks<C, 0, 1>({}, {y}, [&](auto, auto out, int64_t first, int64_t n) {
      const Words words(key, first, n);
      const uint32_t* w = words.begin();
      for (int64_t i = 0; i < n; ++i)
        out[0][i] = static_cast<C>(std::fma(hi - lo, static_cast<double>(ToUnitFloat(w[i])), lo));
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
        out[0][i] = static_cast<C>(std::fma(std, NormalAt(words.begin() + (at & ~int64_t{1}), at & 1), mean));
      }
    });
  });
}

void Keep(const double* x, const uint32_t* words, int32_t threshold, float scale, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<int32_t>(words[i] >> 8) >= threshold ? x[i] * static_cast<double>(scale) : 0;
  }
}
template <typename T>
void Keep(const T* x, const uint32_t* words, int32_t threshold, float scale, T* y, int64_t n) {
  internal::VecDropout(x, words, threshold, scale, y, n);
}

// u(w) >= p, in integers: w >> 8 >= ceil(p * 2^24), which is exact.
void Dropout(View x, double p, KeySource source, View y, LaunchContext) {
  const RngKey key = source.Get();
  const int32_t threshold = static_cast<int32_t>(std::ceil(static_cast<float>(p) * 0x1p24f));
  const float scale = static_cast<float>(1 / (1 - p));
  DispatchRuns<2>({x, y}, [&]<typename C>() {
    MapBlocks<C, 1, 1>({x}, {y}, [=](auto in, auto out, int64_t first, int64_t n) {
      const Words words(key, first, n);
      Keep(in[0], words.begin(), threshold, scale, out[0], n);
    });
  });
}

}  // namespace

const RandomKernels kCpuRandom = {.uniform = Uniform, .normal = Normal, .dropout = Dropout};

}  // namespace lorikeet
