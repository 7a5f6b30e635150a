#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_columns.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_row.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::AnyBeside;
using internal::CheckCuda;
using internal::DispatchFloat;
using internal::DispatchRow;
using internal::ForEachChunk;
using internal::GroupSum;
using internal::IsFinite;
using internal::kFewRowChunks;
using internal::kMaxPieceThreads;
using internal::kMaxRowThreads;
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
using internal::StreamOf;
using internal::SumColumns;
using internal::SumPieces;
using internal::TakePieces;
using internal::Weights;
using internal::WeightsOf;
using internal::Widen;
using internal::WriteChunk;
using internal::WritePiece;

// The sum over the row of f(x), in Sum's arithmetic; every thread of the row gets it.
template <typename Sum, typename T, int kCount, int kKept, typename F>
__device__ Sum SumOf(const RowReader<T, kCount, kKept>& row, const RowLoop& loop, F f) {
  Sum sum = 0;
  ForEachChunk<kKept>(loop, [&](int k, auto c) {
    float v[kCount];
    Widen(row.Get(k, c), v);
    for (float x : v) sum += f(static_cast<Sum>(x));
  });
  return GroupSum(sum);
}

// The variance is the mean square around the mean, from a second pass over the registers. A row whose squares overflow
// f32 is summed again in f64.
struct Moments {
  float mean, rstd;

  template <typename T, int kCount, int kKept>
  __device__ Moments(const RowReader<T, kCount, kKept>& row, const RowLoop& loop, float n, float eps) {
    const float m = SumOf<float>(row, loop, [](float x) { return x; }) / n;
    const float squares = SumOf<float>(row, loop, [m](float x) { return (x - m) * (x - m); });
    mean = m;
    rstd = 1.0f / sqrtf(squares / n + eps);
    if (!AnyBeside(!IsFinite(squares))) return;
    const double count = static_cast<double>(n);
    const double wide = SumOf<double>(row, loop, [](double x) { return x; }) / count;
    const double wide_squares = SumOf<double>(row, loop, [wide](double x) { return (x - wide) * (x - wide); });
    if (IsFinite(squares)) return;
    mean = static_cast<float>(wide);
    rstd = static_cast<float>(1 / sqrt(wide_squares / count + static_cast<double>(eps)));
  }
};

template <typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) LayerNormKernel(Rows<T> x, Weights w, Weights b, float eps, Rows<T> y,
                                                                  RowScalars mean, RowScalars rstd, RowGrid grid) {
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    const RowReader<T, kCount, kKept> row(x, loop);
    const Moments moments(row, loop, static_cast<float>(grid.chunks * kCount), eps);
    if (loop.leads()) {
      mean.data[loop.row() * mean.stride] = moments.mean;
      rstd.data[loop.row() * rstd.stride] = moments.rstd;
    }
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float v[kCount], g[kCount], shift[kCount];
      Widen(row.Get(k, c), v);
      w.Get<T>(c, g);
      b.Get<T>(c, shift);
      for (int j = 0; j < kCount; ++j) v[j] = g[j] * ((v[j] - moments.mean) * moments.rstd) + shift[j];
      WriteChunk(v, y, loop, c);
    });
  }
}

template <typename T>
struct GradArgs {
  Rows<T> dy, x;
  Weights w;
  RowScalars mean, rstd;
  Rows<T> dx;
  float *dw, *db;  // [pieces, d], or null: pieces of the sums for every group of threads, from its rows
};

template <typename T, int kCount, int kKept>
struct GradRows {
  RowReader<T, kCount, kKept> dy, x;
  float mean, rstd;

  __device__ GradRows(const GradArgs<T>& a, const RowLoop& loop)
      : dy(a.dy, loop),
        x(a.x, loop),
        mean(loop.here() ? a.mean.data[loop.row() * a.mean.stride] : 0),
        rstd(loop.here() ? a.rstd.data[loop.row() * a.rstd.stride] : 0) {}

  // f(c, dy, xr) for the thread's chunks; xr = (x - mean) * rstd.
  template <typename F>
  __device__ void Each(const RowLoop& loop, F f) const {
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float g[kCount], v[kCount];
      Widen(dy.Get(k, c), g);
      Widen(x.Get(k, c), v);
      for (float& e : v) e = (e - mean) * rstd;
      f(k, c, g, v);
    });
  }
};

template <typename T, int kCount, int kKept>
__device__ void InputGrad(const GradArgs<T>& a, const GradRows<T, kCount, kKept>& rows, const RowLoop& loop, float n) {
  float sum = 0, sum_x = 0;
  rows.Each(loop, [&](int, auto c, const float(&dy)[kCount], const float(&xr)[kCount]) {
    float w[kCount];
    a.w.template Get<T>(c, w);
    for (int j = 0; j < kCount; ++j) {
      sum += w[j] * dy[j];
      sum_x += w[j] * dy[j] * xr[j];
    }
  });
  const float mean = GroupSum(sum) / n, mean_x = GroupSum(sum_x) / n;
  rows.Each(loop, [&](int, auto c, const float(&dy)[kCount], const float(&xr)[kCount]) {
    float w[kCount], dx[kCount];
    a.w.template Get<T>(c, w);
    for (int j = 0; j < kCount; ++j) dx[j] = rows.rstd * (w[j] * dy[j] - mean - xr[j] * mean_x);
    WriteChunk(dx, a.dx, loop, c);
  });
}

template <typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) LayerNormGradKernel(GradArgs<T> a, RowGrid grid) {
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    InputGrad(a, GradRows<T, kCount, kKept>(a, loop), loop, static_cast<float>(grid.chunks * kCount));
  }
}

// A thread has the same columns of every row of its group, so their sums stay in its registers.
template <typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxPieceThreads) LayerNormFullGradKernel(GradArgs<T> a, RowGrid grid) {
  float dw[kKept][kCount] = {}, db[kKept][kCount] = {};
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    const GradRows<T, kCount, kKept> rows(a, loop);
    rows.Each(loop, [&](int k, auto, const float(&dy)[kCount], const float(&xr)[kCount]) {
      for (int j = 0; j < kCount; ++j) {
        dw[k][j] += dy[j] * xr[j];
        db[k][j] += dy[j];
      }
    });
    InputGrad(a, rows, loop, static_cast<float>(grid.chunks * kCount));
  }
  WritePiece(dw, a.dw, grid);
  WritePiece(db, a.db, grid);
}

struct WeightGradTerm {
  View dy, x;
  RowScalars mean, rstd;
  bool of_bias;

  __device__ float operator()(int64_t i, int64_t j) const {
    const float dy_ij = ReadFloat(dy.data, dy.dtype, i * dy.strides[0] + j * dy.strides[1]);
    if (of_bias) return dy_ij;
    const float x_ij = ReadFloat(x.data, x.dtype, i * x.strides[0] + j * x.strides[1]);
    return dy_ij * ((x_ij - mean.data[i * mean.stride]) * rstd.data[i * rstd.stride]);
  }
};

void LayerNorm(View x, View w, View b, float eps, View y, View mean, View rstd, LaunchContext context) {
  if (x.size() == 0) return;
  const RowPlan plan = PlanRows({x, y, w, b});
  DispatchFloat(x.dtype, "LayerNorm", [&]<typename T>(T) {
    DispatchRow<T>(plan, [&](auto count, auto kept) {
      CheckCuda(Launch(LayerNormKernel<T, count(), kept()>, plan.blocks, plan.block, 0, StreamOf(context), RowsOf<T>(x),
                       WeightsOf(w), WeightsOf(b), eps, RowsOf<T>(y), ScalarsOf(mean), ScalarsOf(rstd), plan.grid),
                "layer_norm");
    });
  });
}

void LayerNormGrad(View dy, View x, View w, View mean, View rstd, View dx, View dw, View db, LaunchContext context) {
  const int64_t d = x.dims[1];
  const cudaStream_t stream = StreamOf(context);
  RowPlan plan = PlanRows<kFewRowChunks>({x, dy, dx, w});
  const int64_t pieces = dw.rank != 0 ? TakePieces(plan) : 0;
  const bool fused = pieces > 0;
  if (dw.rank != 0 && !fused) {  // before dx, which may be dy
    SumColumns(WeightGradTerm{dy, x, ScalarsOf(mean), ScalarsOf(rstd), false}, x.dims[0], d, dw, stream);
    SumColumns(WeightGradTerm{dy, x, ScalarsOf(mean), ScalarsOf(rstd), true}, x.dims[0], d, db, stream);
  }
  if (x.size() == 0) return;
  float* partials = fused ? PartialsFor<float>(2 * pieces, d) : nullptr;
  DispatchFloat(x.dtype, "LayerNormGrad", [&]<typename T>(T) {
    const GradArgs<T> a = {RowsOf<T>(dy),   RowsOf<T>(x),  WeightsOf(w), ScalarsOf(mean),
                           ScalarsOf(rstd), RowsOf<T>(dx), partials,     fused ? partials + pieces * d : nullptr};
    DispatchRow<T, kFewRowChunks>(plan, [&](auto count, auto kept) {
      auto* kernel = LayerNormGradKernel<T, count(), kept()>;
      if constexpr (kept() > 0) kernel = fused ? LayerNormFullGradKernel<T, count(), kept()> : kernel;
      CheckCuda(Launch(kernel, plan.blocks, plan.block, 0, stream, a, plan.grid), "layer_norm_grad");
    });
  });
  if (!fused) return;
  SumPieces(partials, pieces, d, dw, stream);
  SumPieces(partials + pieces * d, pieces, d, db, stream);
}

}  // namespace

extern const LayerNormKernels kCudaLayerNorm = {.layer_norm = LayerNorm, .layer_norm_grad = LayerNormGrad};

}  // namespace lorikeet
