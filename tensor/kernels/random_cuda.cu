#include <cmath>
#include <cstdint>
#include <numbers>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/random.h"
#include "tensor/random.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::Data;
using internal::DispatchFloat;
using internal::FirstIndex;
using internal::Flattened;
using internal::GridFor;
using internal::IndexStride;
using internal::kBlockThreads;
using internal::kPackBytes;
using internal::LoadRaw;
using internal::Narrow;
using internal::Offset;
using internal::StoreChunk;
using internal::StreamOf;
using internal::Vectorisable;
using internal::Widen;

// What becomes of the four words of a counter: f(words, y) with y[0..3], where y holds x's elements before.
struct UniformOf {
  double lo, range;
  __device__ void operator()(const PhiloxBlock& words, float* y) const {
    for (int j = 0; j < 4; ++j) y[j] = static_cast<float>(fma(range, static_cast<double>(ToUnitFloat(words.v[j])), lo));
  }
};

struct NormalOf {
  double mean, std;
  __device__ void operator()(const PhiloxBlock& words, float* y) const {
    for (int j = 0; j < 4; j += 2) {
      const double r = sqrt(-2 * log((words.v[j] + 1.0) * 0x1p-32));
      const double angle = 2 * std::numbers::pi * (words.v[j + 1] * 0x1p-32);
      y[j] = static_cast<float>(fma(std, r * cos(angle), mean));
      y[j + 1] = static_cast<float>(fma(std, r * sin(angle), mean));
    }
  }
};

struct DropoutOf {
  uint32_t threshold;
  float scale;
  __device__ void operator()(const PhiloxBlock& words, float* y) const {
    for (int j = 0; j < 4; ++j) y[j] = words.v[j] >> 8 >= threshold ? y[j] * scale : 0.0f;
  }
};

// A chunk of y's elements, hence one or two counters, to a thread; where views do not allow chunks (`whole`), the four
// elements of a counter. reads_x: false leaves x alone.
template <typename T, bool reads_x, typename F>
__global__ void __launch_bounds__(kBlockThreads) RandomKernel(const __grid_constant__ View x, KeySource source, F f,
                                                              const __grid_constant__ View y, int64_t n, bool whole) {
  constexpr int kCount = static_cast<int>(kPackBytes / sizeof(T));
  const RngKey key = source.Get();
  for (int64_t first = FirstIndex() * kCount; whole && first < n; first += IndexStride() * kCount) {
    float v[kCount] = {};
    if (reads_x) Widen(LoadRaw<kCount>(Data<T>(x) + first), v);
    CUDA_UNROLL
    for (int part = 0; part < kCount; part += 4) f(Philox(key, static_cast<uint64_t>(first + part) / 4), v + part);
    StoreChunk(Narrow<T>(v), Data<T>(y) + first);
  }
  for (int64_t first = FirstIndex() * 4; !whole && first < n; first += IndexStride() * 4) {
    float v[4] = {};
    CUDA_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (reads_x && first + j < n) v[j] = Data<T>(x)[Offset(x, first + j)];
    }
    f(Philox(key, static_cast<uint64_t>(first) / 4), v);
    CUDA_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (first + j < n) Data<T>(y)[Offset(y, first + j)] = T(v[j]);
    }
  }
}

template <bool reads_x, typename F>
void Run(const char* what, View x, KeySource key, F f, View y, LaunchContext context) {
  const int64_t n = y.size();
  if (n == 0) return;
  x = Flattened(x);
  y = Flattened(y);
  const bool whole = y.rank <= 1 && Vectorisable(y) && (!reads_x || (x.rank <= 1 && Vectorisable(x)));
  DispatchFloat(y.dtype, what, [&](auto type) {
    using T = decltype(type);
    const int64_t each = whole ? kPackBytes / static_cast<int64_t>(sizeof(T)) : 4;
    CheckCuda(Launch(RandomKernel<T, reads_x, F>, GridFor((n + each - 1) / each), kBlockThreads, 0, StreamOf(context),
                     x, key, f, y, n, whole),
              what);
  });
}

void Uniform(double lo, double hi, RngKey key, View y, LaunchContext context) {
  Run<false>("uniform", y, key, UniformOf{lo, hi - lo}, y, context);
}

void Normal(double mean, double std, RngKey key, View y, LaunchContext context) {
  Run<false>("normal", y, key, NormalOf{mean, std}, y, context);
}

// u(w) >= p, in integers: w >> 8 >= ceil(p * 2^24), which is exact.
void Dropout(View x, double p, KeySource key, View y, LaunchContext context) {
  const uint32_t threshold = static_cast<uint32_t>(std::ceil(static_cast<float>(p) * 0x1p24f));
  Run<true>("dropout", x, key, DropoutOf{threshold, static_cast<float>(1 / (1 - p))}, y, context);
}

}  // namespace

extern const RandomKernels kCudaRandom = {.uniform = Uniform, .normal = Normal, .dropout = Dropout};

}  // namespace lorikeet
