#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/kernels/layer_norm_row.h"
#include "tensor/kernels/norm_rows.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/rows.h"
#include "tensor/view.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/layer_norm_cpu.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/highway.h"
#include "tensor/kernels/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

// The sum of f(x[i]) over a row; the last elements are taken one by one.
template <typename T, typename F, typename G>
HWY_INLINE float SumOf(const T* x, int64_t n, const F& f, const G& scalar) {
  const D d;
  V s0 = hn::Zero(d), s1 = hn::Zero(d);  // two, to hide the latency of the addition
  int64_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) {
    s0 = f(LoadVec(d, x + i), s0);
    s1 = f(LoadVec(d, x + i + kWidth), s1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += scalar(static_cast<float>(x[i]));
  return sum;
}

// The variance is the mean square around the mean, which a second pass over the row in the cache knows exactly enough.
template <typename T>
HWY_INLINE void Moments(LayerNormRow<T>& row) {
  const D d;
  const float n = static_cast<float>(row.n);
  const float sum = SumOf(
      row.x, row.n, [](V x, V s) HWY_ATTR { return hn::Add(x, s); }, [](float x) { return x; });
  const float mean = sum / n;
  const V m = hn::Set(d, mean);
  const auto square = [m](V x, V s) HWY_ATTR {
    const V c = hn::Sub(x, m);
    return hn::MulAdd(c, c, s);
  };
  const float squares = SumOf(row.x, row.n, square, [mean](float x) { return (x - mean) * (x - mean); });
  row.mean = mean;
  row.rstd = 1 / std::sqrt(squares / n + row.eps);
  if (std::isfinite(squares)) return;
  double wide_mean = 0, wide_squares = 0;
  for (int64_t i = 0; i < row.n; ++i) wide_mean += double{static_cast<float>(row.x[i])};
  wide_mean /= static_cast<double>(row.n);
  for (int64_t i = 0; i < row.n; ++i) {
    const double c = double{static_cast<float>(row.x[i])} - wide_mean;
    wide_squares += c * c;
  }
  row.mean = static_cast<float>(wide_mean);
  row.rstd = static_cast<float>(1 / std::sqrt(wide_squares / static_cast<double>(row.n) + double{row.eps}));
}

template <typename T>
HWY_INLINE void NormRun(LayerNormRow<T>& row) {
  Moments(row);
  const D d;
  const V m = hn::Set(d, row.mean), r = hn::Set(d, row.rstd);
  const auto at = [&](int64_t i) HWY_ATTR {
    const V xr = hn::Mul(hn::Sub(LoadVec(d, row.x + i), m), r);
    return hn::MulAdd(hn::LoadU(d, row.w + i), xr, hn::LoadU(d, row.b + i));
  };
  int64_t i = 0;
  for (; i + 2 * kWidth <= row.n; i += 2 * kWidth) StorePair(d, at(i), at(i + kWidth), row.y + i);
  for (; i < row.n; ++i) {
    row.y[i] = T(row.w[i] * ((static_cast<float>(row.x[i]) - row.mean) * row.rstd) + row.b[i]);
  }
}

// The means of w*dy and of w*dy*xr over a row.
template <typename T>
HWY_INLINE void GradMeans(const LayerNormGradRow<T>& g, float* mean_g, float* mean_gx) {
  const D d;
  const V m = hn::Set(d, g.mean), r = hn::Set(d, g.rstd);
  V s = hn::Zero(d), sx = hn::Zero(d);
  int64_t i = 0;
  for (; i + kWidth <= g.n; i += kWidth) {
    const V wdy = hn::Mul(hn::LoadU(d, g.w + i), LoadVec(d, g.dy + i));
    s = hn::Add(s, wdy);
    sx = hn::MulAdd(wdy, hn::Mul(hn::Sub(LoadVec(d, g.x + i), m), r), sx);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, s)), sum_x = hn::GetLane(hn::SumOfLanes(d, sx));
  for (; i < g.n; ++i) {
    const float wdy = g.w[i] * static_cast<float>(g.dy[i]);
    sum += wdy;
    sum_x += wdy * ((static_cast<float>(g.x[i]) - g.mean) * g.rstd);
  }
  *mean_g = sum / static_cast<float>(g.n);
  *mean_gx = sum_x / static_cast<float>(g.n);
}

template <typename T>
HWY_INLINE void AddWeightGrads(const LayerNormGradRow<T>& g) {
  const D d;
  const V m = hn::Set(d, g.mean), r = hn::Set(d, g.rstd);
  int64_t i = 0;
  for (; i + kWidth <= g.n; i += kWidth) {
    const V dy = LoadVec(d, g.dy + i), xr = hn::Mul(hn::Sub(LoadVec(d, g.x + i), m), r);
    hn::StoreU(hn::MulAdd(dy, xr, hn::LoadU(d, g.dw + i)), d, g.dw + i);
    hn::StoreU(hn::Add(dy, hn::LoadU(d, g.db + i)), d, g.db + i);
  }
  for (; i < g.n; ++i) {
    g.dw[i] += static_cast<float>(g.dy[i]) * ((static_cast<float>(g.x[i]) - g.mean) * g.rstd);
    g.db[i] += static_cast<float>(g.dy[i]);
  }
}

template <typename T>
HWY_INLINE void GradRun(const LayerNormGradRow<T>& g) {
  if (g.dw != nullptr) AddWeightGrads(g);  // before dx, which may be dy
  float a, c;
  GradMeans(g, &a, &c);
  const D d;
  const V m = hn::Set(d, g.mean), r = hn::Set(d, g.rstd), va = hn::Set(d, a), vc = hn::Set(d, c);
  const auto at = [&](int64_t i) HWY_ATTR {
    const V wdy = hn::Mul(hn::LoadU(d, g.w + i), LoadVec(d, g.dy + i));
    const V xr = hn::Mul(hn::Sub(LoadVec(d, g.x + i), m), r);
    return hn::Mul(r, hn::NegMulAdd(xr, vc, hn::Sub(wdy, va)));
  };
  int64_t i = 0;
  for (; i + 2 * kWidth <= g.n; i += 2 * kWidth) StorePair(d, at(i), at(i + kWidth), g.dx + i);
  for (; i < g.n; ++i) {
    const float xr = (static_cast<float>(g.x[i]) - g.mean) * g.rstd;
    g.dx[i] = T(g.rstd * (g.w[i] * static_cast<float>(g.dy[i]) - a - xr * c));
  }
}

void NormF32(LayerNormRow<float>& row) { NormRun(row); }
void NormBF16(LayerNormRow<bf16>& row) { NormRun(row); }
void GradF32(const LayerNormGradRow<float>& g) { GradRun(g); }
void GradBF16(const LayerNormGradRow<bf16>& g) { GradRun(g); }

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet {
namespace internal {

HWY_EXPORT(NormF32);
HWY_EXPORT(NormBF16);
HWY_EXPORT(GradF32);
HWY_EXPORT(GradBF16);

namespace {

constexpr int64_t kGrainElements = 16 * 1024;
constexpr int64_t kMaxPartials = 64;  // chunks of rows that each keep partial dw and db

// double is for gradient checks: plain, not fast.
void Normalise(LayerNormRow<float>& row) { HWY_DYNAMIC_DISPATCH(NormF32)(row); }
void Normalise(LayerNormRow<bf16>& row) { HWY_DYNAMIC_DISPATCH(NormBF16)(row); }
void Normalise(LayerNormRow<double>& row) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < row.n; ++i) sum += row.x[i];
  row.mean = sum / static_cast<double>(row.n);
  for (int64_t i = 0; i < row.n; ++i) squares += (row.x[i] - row.mean) * (row.x[i] - row.mean);
  row.rstd = 1 / std::sqrt(squares / static_cast<double>(row.n) + row.eps);
  for (int64_t i = 0; i < row.n; ++i) row.y[i] = row.w[i] * ((row.x[i] - row.mean) * row.rstd) + row.b[i];
}

void Grad(const LayerNormGradRow<float>& g) { HWY_DYNAMIC_DISPATCH(GradF32)(g); }
void Grad(const LayerNormGradRow<bf16>& g) { HWY_DYNAMIC_DISPATCH(GradBF16)(g); }
void Grad(const LayerNormGradRow<double>& g) {
  double a = 0, c = 0;
  const auto xr = [&](int64_t i) { return (g.x[i] - g.mean) * g.rstd; };
  for (int64_t i = 0; i < g.n; ++i) {
    if (g.dw != nullptr) g.dw[i] += g.dy[i] * xr(i), g.db[i] += g.dy[i];
    a += g.w[i] * g.dy[i];
    c += g.w[i] * g.dy[i] * xr(i);
  }
  a /= static_cast<double>(g.n);
  c /= static_cast<double>(g.n);
  for (int64_t i = 0; i < g.n; ++i) g.dx[i] = g.rstd * (g.w[i] * g.dy[i] - a - xr(i) * c);
}

template <typename T, typename C>
void LayerNorm(const View& x, const View& w, const View& b, float eps, const View& y, const View& mean,
               const View& rstd) {
  const int64_t rows = x.dims[0], n = x.dims[1];
  const std::vector<C> weight = Weight<C>(w), bias = Weight<C>(b);
  ParallelFor(rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(n, 1)), [&](int64_t begin, int64_t end) {
    std::vector<T> in(static_cast<size_t>(n)), out(static_cast<size_t>(n));
    for (int64_t i = begin; i < end; ++i) {
      LayerNormRow<T> row{.x = Read(x, i, in),
                          .w = weight.data(),
                          .b = bias.data(),
                          .eps = eps,
                          .n = n,
                          .y = ToWrite(y, i, out),
                          .mean = 0,
                          .rstd = 0};
      Normalise(row);
      Finish(row.y, out, y, i);
      mean.ptr<C>()[i * mean.strides[0]] = row.mean;
      rstd.ptr<C>()[i * rstd.strides[0]] = row.rstd;
    }
  });
}

// The sum over chunks of partials [chunks][2][n], in order: dw, then db.
template <typename C>
void StoreSums(const std::vector<C>& partials, int64_t n, const View& dw, const View& db) {
  std::vector<C> total(static_cast<size_t>(2 * n), C(0));
  for (size_t i = 0; i < partials.size(); ++i) total[i % total.size()] += partials[i];
  StoreRow(total.data(), dw, 0, n, dw.strides[0]);
  StoreRow(total.data() + n, db, 0, n, db.strides[0]);
}

template <typename T, typename C>
void LayerNormGrad(const View& dy, const View& x, const View& w, const View& mean, const View& rstd, const View& dx,
                   const View& dw, const View& db) {
  const int64_t rows = x.dims[0], n = x.dims[1];
  const std::vector<C> weight = Weight<C>(w);
  const int64_t grain =
      std::max<int64_t>({1, kGrainElements / std::max<int64_t>(n, 1), (rows + kMaxPartials - 1) / kMaxPartials});
  std::vector<C> partials(dw.rank == 0 ? 0 : static_cast<size_t>((rows + grain - 1) / grain * 2 * n), C(0));
  ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
    std::vector<T> dy_row(static_cast<size_t>(n)), x_row(dy_row), dx_row(dy_row);
    C* sums = dw.rank == 0 ? nullptr : partials.data() + begin / grain * 2 * n;
    for (int64_t i = begin; i < end; ++i) {
      const LayerNormGradRow<T> g{.dy = Read(dy, i, dy_row),
                                  .x = Read(x, i, x_row),
                                  .w = weight.data(),
                                  .mean = mean.ptr<const C>()[i * mean.strides[0]],
                                  .rstd = rstd.ptr<const C>()[i * rstd.strides[0]],
                                  .n = n,
                                  .dx = ToWrite(dx, i, dx_row),
                                  .dw = sums,
                                  .db = sums == nullptr ? nullptr : sums + n};
      Grad(g);
      Finish(g.dx, dx_row, dx, i);
    }
  });
  if (dw.rank != 0) StoreSums(partials, n, dw, db);
}

void LayerNormEntry(View x, View w, View b, float eps, View y, View mean, View rstd, LaunchContext) {
  const auto run = x.dtype == DType::kF64 ? LayerNorm<double, double>
                   : AllBF16({x, y})      ? LayerNorm<bf16, float>
                                          : LayerNorm<float, float>;
  run(x, w, b, eps, y, mean, rstd);
}

void LayerNormGradEntry(View dy, View x, View w, View mean, View rstd, View dx, View dw, View db, LaunchContext) {
  const auto run = x.dtype == DType::kF64 ? LayerNormGrad<double, double>
                   : AllBF16({dy, x, dx}) ? LayerNormGrad<bf16, float>
                                          : LayerNormGrad<float, float>;
  run(dy, x, w, mean, rstd, dx, dw, db);
}

}  // namespace
}  // namespace internal

const LayerNormKernels kCpuLayerNorm = {.layer_norm = internal::LayerNormEntry,
                                        .layer_norm_grad = internal::LayerNormGradEntry};

}  // namespace lorikeet
#endif  // HWY_ONCE
