#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_parts.h"
#include "tensor/kernels/cuda_row.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/softmax.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::DispatchFloat;
using internal::DispatchRow;
using internal::ForEachChunk;
using internal::GroupReduce;
using internal::GroupSum;
using internal::kMaxRowThreads;
using internal::kPartThreads;
using internal::LaunchParts;
using internal::MaxSum;
using internal::Narrow;
using internal::PartLoop;
using internal::PartsOf;
using internal::PlanRows;
using internal::RoughExp;
using internal::RowGrid;
using internal::RowLoop;
using internal::RowParts;
using internal::RowPlan;
using internal::RowReader;
using internal::Rows;
using internal::RowsOf;
using internal::RowSpan;
using internal::SpanOf;
using internal::StoreChunk;
using internal::StreamOf;
using internal::Widen;
using internal::WriteChunk;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

__device__ inline float GroupMax(float x) {
  return GroupReduce(x, -kInfinity, [](float a, float b) { return fmaxf(a, b); });
}

// m = max x, or 0 where that is -infinity, and s = sum e^(x - m): 0 for a row of -infinity, NaN where a NaN or
// +infinity is in the row (fmaxf passes over a NaN, the sum does not). A row that is not kept is read once: a thread
// scales its sum down whenever it meets a larger maximum.
struct LogSumExp {
  float max, sum;

  template <typename T, int kCount, int kKept>
  __device__ LogSumExp(const RowReader<T, kCount, kKept>& row, const RowLoop& loop) : max(-kInfinity), sum(0) {
    if constexpr (kKept > 0) {
      ForEachChunk<kKept>(loop, [&](int k, auto c) { max = fmaxf(max, ChunkMax(row.Get(k, c))); });
      max = Finite(GroupMax(max));
      ForEachChunk<kKept>(loop, [&](int k, auto c) { sum += ChunkSum(row.Get(k, c), max); });
      sum = GroupSum(sum);
    } else {
      ForEachChunk<kKept>(loop, [&](int k, auto c) {
        const auto chunk = row.Get(k, c);
        const float larger = fmaxf(max, ChunkMax(chunk));
        if (larger > max) sum *= expf(max - larger);
        max = larger;
        sum += ChunkSum(chunk, Finite(max));
      });
      const float all = Finite(GroupMax(max));
      sum = GroupSum(max == -kInfinity ? sum : sum * expf(max - all));
      max = all;
    }
  }

 private:
  __device__ static float Finite(float max) { return max == -kInfinity ? 0.0f : max; }
  template <typename C>
  __device__ static float ChunkMax(const C& chunk) {
    float v[sizeof(chunk.v) / sizeof(chunk.v[0])], m = -kInfinity;
    Widen(chunk, v);
    for (float e : v) m = fmaxf(m, e);
    return m;
  }
  template <typename C>
  __device__ static float ChunkSum(const C& chunk, float max) {
    float v[sizeof(chunk.v) / sizeof(chunk.v[0])], s = 0;
    Widen(chunk, v);
    for (float e : v) s += expf(e - max);
    return s;
  }
};

struct SoftmaxRow {
  float max, scale;
  __device__ SoftmaxRow(float max, float sum) : max(max), scale(sum == 0 ? 0.0f : 1.0f / sum) {}
  template <typename T>  // of the result
  __device__ float Of(float x) const {
    return (sizeof(T) == 2 ? RoughExp(x - max) : expf(x - max)) * scale;
  }
};

struct LogSoftmaxRow {
  float max, log_sum;
  __device__ LogSoftmaxRow(float max, float sum) : max(max), log_sum(sum == 0 ? 0.0f : logf(sum)) {}
  template <typename T>
  __device__ float Of(float x) const {
    return x - max - log_sum;
  }
};

template <typename Row, typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) ForwardKernel(Rows<T> x, Rows<T> y, RowGrid grid) {
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    const RowReader<T, kCount, kKept> row(x, loop);
    const LogSumExp lse(row, loop);
    const Row f(lse.max, lse.sum);
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float v[kCount];
      Widen(row.Get(k, c), v);
      for (float& e : v) e = f.template Of<T>(e);
      WriteChunk(v, y, loop, c);
    });
  }
}

// Rows that are too long to be kept. y is written as it is made, and the cache kept for x.
template <typename Row, typename T>
__global__ void __launch_bounds__(kPartThreads)
    LongForwardKernel(Rows<T> x, Rows<T> y, int64_t columns, RowParts<MaxSum> parts) {
  CUDA_DYNAMIC_SHARED(uint4, shared);
  const auto kept = parts.template KeptIn<T>(shared);
  for (PartLoop loop(parts); loop.More(); loop.Next()) {
    const T* row = x.data + loop.row() * x.row_stride;
    T* out = y.data + loop.row() * y.row_stride;
    MaxSum s;
    SpanOf(row, columns, loop, parts.parts).Each(kept, [&](const auto& v, int64_t) { s.Add(v); });
    s.Combine();
    if (!Complete(parts, loop, &s)) continue;
    const Row f(MaxSum::Shift(s.max), s.sum);
    RowSpan<T>(row, 0, columns).EachAgain(kept, [&](const auto& v, int64_t at) {
      float e[sizeof(v) / sizeof(float)];
      for (size_t j = 0; j < sizeof(v) / sizeof(float); ++j) e[j] = f.template Of<T>(v[j]);
      StoreChunk<true>(Narrow<T>(e), out + at);
    });
  }
}

// dx = y * (dy - sum dy * y)
struct SoftmaxGradRow {
  static constexpr bool kNothingHasNone = false;
  __device__ static float Term(float dy, float y) { return dy * y; }
  __device__ static float Dx(float dy, float y, float sum) { return y * (dy - sum); }
};

// dx = dy - e^y * sum dy, but 0 where every y is -infinity.
struct LogSoftmaxGradRow {
  static constexpr bool kNothingHasNone = true;
  __device__ static float Term(float dy, float) { return dy; }
  __device__ static float Dx(float dy, float y, float sum) { return dy - expf(y) * sum; }
};

template <typename Row, typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) GradKernel(Rows<T> dy, Rows<T> y, Rows<T> dx, RowGrid grid) {
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    const RowReader<T, kCount, kKept> dy_row(dy, loop), y_row(y, loop);
    float sum = 0;
    bool none = Row::kNothingHasNone;
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float a[kCount], b[kCount];
      Widen(dy_row.Get(k, c), a);
      Widen(y_row.Get(k, c), b);
      for (int j = 0; j < kCount; ++j) {
        sum += Row::Term(a[j], b[j]);
        none = none && b[j] == -kInfinity;
      }
    });
    sum = GroupSum(sum);
    if constexpr (Row::kNothingHasNone) none = GroupMax(none ? 0.0f : 1.0f) == 0;
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float a[kCount], b[kCount];
      Widen(dy_row.Get(k, c), a);
      Widen(y_row.Get(k, c), b);
      for (int j = 0; j < kCount; ++j) a[j] = none ? 0.0f : Row::Dx(a[j], b[j], sum);
      WriteChunk(a, dx, loop, c);
    });
  }
}

template <typename Row>
void Forward(View x, View y, LaunchContext context) {
  if (x.size() == 0) return;
  const RowPlan plan = PlanRows({x, y});
  DispatchFloat(x.dtype, "softmax", [&]<typename T>(T) {
    if (plan.packs && plan.kept == 0) {
      const auto parts =
          PartsOf<MaxSum>(x.dims[0], x.dims[1] * static_cast<int64_t>(sizeof(T)), true, StreamOf(context));
      CheckCuda(LaunchParts(LongForwardKernel<Row, T>, parts, StreamOf(context), RowsOf<T>(x), RowsOf<T>(y), x.dims[1],
                            parts),
                "softmax");
      return;
    }
    DispatchRow<T>(plan, [&](auto count, auto kept) {
      if constexpr (count() == 1 || kept() > 0) {
        CheckCuda(Launch(ForwardKernel<Row, T, count(), kept()>, plan.blocks, plan.block, 0, StreamOf(context),
                         RowsOf<T>(x), RowsOf<T>(y), plan.grid),
                  "softmax");
      }
    });
  });
}

template <typename Row>
void Grad(View dy, View y, View dx, LaunchContext context) {
  if (y.size() == 0) return;
  const RowPlan plan = PlanRows({y, dy, dx});
  DispatchFloat(y.dtype, "softmax gradient", [&]<typename T>(T) {
    DispatchRow<T>(plan, [&](auto count, auto kept) {
      CheckCuda(Launch(GradKernel<Row, T, count(), kept()>, plan.blocks, plan.block, 0, StreamOf(context),
                       RowsOf<T>(dy), RowsOf<T>(y), RowsOf<T>(dx), plan.grid),
                "softmax gradient");
    });
  });
}

}  // namespace

extern const SoftmaxKernels kCudaSoftmax = {.softmax = Forward<SoftmaxRow>,
                                            .log_softmax = Forward<LogSoftmaxRow>,
                                            .softmax_grad = Grad<SoftmaxGradRow>,
                                            .log_softmax_grad = Grad<LogSoftmaxGradRow>};

}  // namespace lorikeet
