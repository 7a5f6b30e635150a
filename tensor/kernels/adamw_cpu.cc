#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/adamw_constants.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

using internal::AdamWConstants;
using internal::RoundedConstants;

constexpr int64_t kChunk = 16 * 1024;  // elements a task: 448 kB of traffic, far above the cost of a task

// Vectorized by the compiler; bound by memory: 28 bytes of traffic an element in f32.
template <typename T>
void Update(const AdamWConstants<T>& c, const T* __restrict g, T* __restrict p, T* __restrict m, T* __restrict v,
            int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T gi = c.grad_scale * g[i];
    const T mi = c.beta1 * m[i] + c.one_minus_beta1 * gi;
    const T vi = c.beta2 * v[i] + c.one_minus_beta2 * gi * gi;
    m[i] = mi;
    v[i] = vi;
    p[i] = p[i] * c.keep - c.rate * mi / (std::sqrt(vi) + c.eps);
  }
}

template <typename T>
void UpdateRange(const AdamWSegment& s, const AdamWStep& step, int64_t begin, int64_t end) {
  Update(RoundedConstants<T>(s, step), s.g.ptr<const T>() + begin, s.p.ptr<T>() + begin, s.m.ptr<T>() + begin,
         s.v.ptr<T>() + begin, end - begin);
}

void UpdateSegment(const AdamWSegment& s, const AdamWStep& step, int64_t begin, int64_t end) {
  s.p.dtype == DType::kF64 ? UpdateRange<double>(s, step, begin, end) : UpdateRange<float>(s, step, begin, end);
}

void Step(const AdamWSegment* segments, int64_t count, const AdamWStep& step, LaunchContext) {
  std::vector<int64_t> chunks_before(static_cast<size_t>(count) + 1, 0);
  for (int64_t s = 0; s < count; ++s) {
    chunks_before[s + 1] = chunks_before[s] + (segments[s].p.size() + kChunk - 1) / kChunk;
  }
  ParallelFor(chunks_before.back(), 1, [&](int64_t first, int64_t last) {
    for (int64_t chunk = first; chunk < last; ++chunk) {
      const auto after = std::upper_bound(chunks_before.begin(), chunks_before.end(), chunk);
      const int64_t s = after - chunks_before.begin() - 1;
      const int64_t begin = (chunk - chunks_before[s]) * kChunk, end = std::min(begin + kChunk, segments[s].p.size());
      UpdateSegment(segments[s], step, begin, end);
    }
  });
}

void UpdateWhole(const AdamWSegment& segment, const AdamWStep& step) {
  UpdateSegment(segment, step, 0, segment.p.size());
}

}  // namespace

const AdamWKernels kCpuAdamW = {.step = Step, .update = UpdateWhole};

}  // namespace lorikeet
