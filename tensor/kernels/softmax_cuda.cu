#include <cmath>
#include <cstdint>
#include <limits>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
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
using internal::PlanRows;
using internal::RowGrid;
using internal::RowLoop;
using internal::RowPlan;
using internal::RowReader;
using internal::Rows;
using internal::RowsOf;
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
  __device__ explicit SoftmaxRow(const LogSumExp& lse) : max(lse.max), scale(lse.sum == 0 ? 0.0f : 1.0f / lse.sum) {}
  __device__ float operator()(float x) const { return expf(x - max) * scale; }
};

struct LogSoftmaxRow {
  float max, log_sum;
  __device__ explicit LogSoftmaxRow(const LogSumExp& lse)
      : max(lse.max), log_sum(lse.sum == 0 ? 0.0f : logf(lse.sum)) {}
  __device__ float operator()(float x) const { return x - max - log_sum; }
};

template <typename Row, typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) ForwardKernel(Rows<T> x, Rows<T> y, RowGrid grid) {
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    const RowReader<T, kCount, kKept> row(x, loop);
    const Row f(LogSumExp(row, loop));
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float v[kCount];
      Widen(row.Get(k, c), v);
      for (float& e : v) e = f(e);
      WriteChunk(v, y, loop, c);
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
    DispatchRow<T>(plan, [&](auto count, auto kept) {
      CheckCuda(Launch(ForwardKernel<Row, T, count(), kept()>, plan.blocks, plan.block, 0, StreamOf(context),
                       RowsOf<T>(x), RowsOf<T>(y), plan.grid),
                "softmax");
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
