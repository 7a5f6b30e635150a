#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_columns.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_row.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/norm.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::AnyBeside;
using internal::CheckCuda;
using internal::Chunk;
using internal::DispatchFloat;
using internal::DispatchRow;
using internal::ForEachChunk;
using internal::GroupSum;
using internal::IsFinite;
using internal::kFewRowChunks;
using internal::kMaxPieceThreads;
using internal::kMaxRowThreads;
using internal::LoadChunk;
using internal::Narrow;
using internal::PartialsFor;
using internal::PlanRows;
using internal::ReadFloat;
using internal::RowGrid;
using internal::RowLoop;
using internal::RowPlan;
using internal::RowReader;
using internal::Rows;
using internal::RowScalars;
using internal::RowsOf;
using internal::ScalarsOf;
using internal::StoreChunk;
using internal::StreamOf;
using internal::SumColumns;
using internal::SumPieces;
using internal::TakePieces;
using internal::Weights;
using internal::WeightsOf;
using internal::Widen;
using internal::WriteChunk;
using internal::WritePiece;

// 1/sqrt(mean + eps) of a row whose squares this thread summed into `part`. Those that overflow f32 are summed in f64.
template <typename T, int kCount, int kKept>
__device__ float Rstd(const RowReader<T, kCount, kKept>& row, const RowLoop& loop, float part, float n, float eps) {
  const float sum = GroupSum(part);
  const float rstd = 1.0f / sqrtf(sum / n + eps);
  if (!AnyBeside(!IsFinite(sum))) return rstd;
  double wide = 0;
  ForEachChunk<kKept>(loop, [&](int k, auto c) {
    float v[kCount];
    Widen(row.Get(k, c), v);
    for (float x : v) wide += static_cast<double>(x) * static_cast<double>(x);
  });
  wide = GroupSum(wide);
  return IsFinite(sum) ? rstd : static_cast<float>(1 / sqrt(wide / static_cast<double>(n) + static_cast<double>(eps)));
}

template <typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) RmsNormKernel(Rows<T> x, Rows<T> residual, Weights w, float eps,
                                                                Rows<T> sum, Rows<T> y, RowScalars rstd, RowGrid grid) {
  const float n = static_cast<float>(grid.chunks * kCount);
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    RowReader<T, kCount, kKept> row(x, loop);
    if (residual.data != nullptr) {
      const RowReader<T, kCount, kKept> other(residual, loop);
      ForEachChunk<kKept>(loop, [&](int k, auto c) {
        float a[kCount], b[kCount];
        Widen(row.Get(k, c), a);
        Widen(other.Get(k, c), b);
        for (int j = 0; j < kCount; ++j) a[j] += b[j];
        const Chunk<T, kCount> rounded = Narrow<T>(a);
        StoreChunk(rounded, sum.template At<kCount>(loop.row(), c));
        row.Set(k, rounded);
      });
      row.LookIn(sum);
    }
    float part = 0;
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float v[kCount];
      Widen(row.Get(k, c), v);
      for (float e : v) part += e * e;
    });
    const float r = Rstd(row, loop, part, n, eps);
    if (loop.leads()) rstd.data[loop.row() * rstd.stride] = r;
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float v[kCount], g[kCount];
      Widen(row.Get(k, c), v);
      w.Get<T>(c, g);
      for (int j = 0; j < kCount; ++j) v[j] = g[j] * (v[j] * r);
      WriteChunk(v, y, loop, c);
    });
  }
}

template <typename T>
struct NormGradArgs {
  Rows<T> dy, dsum, x;
  Weights w;
  RowScalars rstd;
  Rows<T> dx;
  float* partials;  // [pieces, d], or null: a piece of dw for every group of threads, from its rows
};

// The two rows that a gradient is made of, read ahead while the row before is worked on.
template <typename T, int kCount, int kKept>
struct GradRows {
  RowReader<T, kCount, kKept> dy, x;
  float r;

  __device__ GradRows(const NormGradArgs<T>& a, const RowLoop& loop)
      : dy(a.dy, loop), x(a.x, loop), r(loop.here() ? a.rstd.data[loop.row() * a.rstd.stride] : 0) {}
};

template <typename T, int kCount, int kKept>
__device__ void InputGrad(const NormGradArgs<T>& a, const GradRows<T, kCount, kKept>& rows, const RowLoop& loop,
                          float n) {
  const float r = rows.r;
  float part = 0;
  ForEachChunk<kKept>(loop, [&](int k, auto c) {
    float dy[kCount], x[kCount], w[kCount];
    Widen(rows.dy.Get(k, c), dy);
    Widen(rows.x.Get(k, c), x);
    a.w.template Get<T>(c, w);
    for (int j = 0; j < kCount; ++j) part += w[j] * dy[j] * (x[j] * r);
  });
  const float mean = GroupSum(part) / n;
  ForEachChunk<kKept>(loop, [&](int k, auto c) {
    float dy[kCount], x[kCount], w[kCount], dx[kCount];
    Widen(rows.dy.Get(k, c), dy);
    Widen(rows.x.Get(k, c), x);
    a.w.template Get<T>(c, w);
    for (int j = 0; j < kCount; ++j) dx[j] = r * (w[j] * dy[j] - x[j] * r * mean);
    if (a.dsum.data != nullptr) {
      float dsum[kCount];
      Widen(LoadChunk<kCount>(a.dsum.template At<kCount>(loop.row(), c)), dsum);
      for (int j = 0; j < kCount; ++j) dx[j] += dsum[j];
    }
    WriteChunk(dx, a.dx, loop, c);
  });
}

template <typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) RmsNormGradKernel(NormGradArgs<T> a, RowGrid grid) {
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    InputGrad(a, GradRows<T, kCount, kKept>(a, loop), loop, static_cast<float>(grid.chunks * kCount));
  }
}

// A thread has the same columns of every row of its group, so their sums stay in its registers.
template <typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxPieceThreads) RmsNormFullGradKernel(NormGradArgs<T> a, RowGrid grid) {
  float dw[kKept][kCount] = {};
  RowLoop loop(grid);
  GradRows<T, kCount, kKept> next(a, loop);
  while (loop.More()) {
    const GradRows<T, kCount, kKept> rows = next;
    const RowLoop here = loop;
    loop.Next();
    next = GradRows<T, kCount, kKept>(a, loop);
    ForEachChunk<kKept>(here, [&](int k, auto c) {
      float dy[kCount], x[kCount];
      Widen(rows.dy.Get(k, c), dy);
      Widen(rows.x.Get(k, c), x);
      for (int j = 0; j < kCount; ++j) dw[k][j] += dy[j] * (x[j] * rows.r);
    });
    InputGrad(a, rows, here, static_cast<float>(grid.chunks * kCount));
  }
  WritePiece(dw, a.partials, grid);
}

struct WeightGradTerm {
  View dy, x;
  RowScalars rstd;
  __device__ float operator()(int64_t i, int64_t j) const {
    const float dy_ij = ReadFloat(dy.data, dy.dtype, i * dy.strides[0] + j * dy.strides[1]);
    const float x_ij = ReadFloat(x.data, x.dtype, i * x.strides[0] + j * x.strides[1]);
    return dy_ij * (x_ij * rstd.data[i * rstd.stride]);
  }
};

void RmsNorm(View x, View residual, View w, float eps, View sum, View y, View rstd, LaunchContext context) {
  if (x.size() == 0) return;
  const RowPlan plan = PlanRows({x, residual, sum, y, w});
  DispatchFloat(x.dtype, "RmsNorm", [&]<typename T>(T) {
    DispatchRow<T>(plan, [&](auto count, auto kept) {
      CheckCuda(
          Launch(RmsNormKernel<T, count(), kept()>, plan.blocks, plan.block, 0, StreamOf(context), RowsOf<T>(x),
                 RowsOf<T>(residual), WeightsOf(w), eps, RowsOf<T>(sum), RowsOf<T>(y), ScalarsOf(rstd), plan.grid),
          "rms_norm");
    });
  });
}

void RmsNormGrad(View dy, View dsum, View x, View w, View rstd, View dx, View dw, LaunchContext context) {
  const int64_t d = x.dims[1];
  const cudaStream_t stream = StreamOf(context);
  RowPlan plan = PlanRows<kFewRowChunks>({x, dy, dsum, dx, w});
  const int64_t pieces = dw.rank != 0 ? TakePieces(plan) : 0;
  const bool fused = pieces > 0;
  // Before dx, which may be dy.
  if (dw.rank != 0 && !fused) SumColumns(WeightGradTerm{dy, x, ScalarsOf(rstd)}, x.dims[0], d, dw, stream);
  if (x.size() == 0) return;
  float* partials = fused ? PartialsFor<float>(pieces, d) : nullptr;
  DispatchFloat(x.dtype, "RmsNormGrad", [&]<typename T>(T) {
    const NormGradArgs<T> a = {RowsOf<T>(dy),   RowsOf<T>(dsum), RowsOf<T>(x), WeightsOf(w),
                               ScalarsOf(rstd), RowsOf<T>(dx),   partials};
    DispatchRow<T, kFewRowChunks>(plan, [&](auto count, auto kept) {
      auto* kernel = RmsNormGradKernel<T, count(), kept()>;
      if constexpr (kept() > 0) kernel = fused ? RmsNormFullGradKernel<T, count(), kept()> : kernel;
      CheckCuda(Launch(kernel, plan.blocks, plan.block, 0, stream, a, plan.grid), "rms_norm_grad");
    });
  });
  if (fused) SumPieces(partials, pieces, d, dw, stream);
}

}  // namespace

extern const NormKernels kCudaNorm = {.rms_norm = RmsNorm, .rms_norm_grad = RmsNormGrad};

}  // namespace lorikeet
