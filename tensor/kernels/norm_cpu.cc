#include "tensor/kernels/norm.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/norm_row.h"
#include "tensor/kernels/norm_rows.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/rows.h"
#include "tensor/view.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/norm_cpu.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/highway.h"
#include "tensor/kernels/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

// Rows are of T, float or bf16; weights and sums are f32. The last elements of a row are taken one by one.
template <typename T>
HWY_INLINE float SumSquares(const T* x, int64_t n) {
  const D d;
  V s0 = hn::Zero(d), s1 = hn::Zero(d);  // two, to hide the latency of the addition
  int64_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) {
    const V a = LoadVec(d, x + i), b = LoadVec(d, x + i + kWidth);
    s0 = hn::MulAdd(a, a, s0);
    s1 = hn::MulAdd(b, b, s1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += static_cast<float>(x[i]) * static_cast<float>(x[i]);
  return sum;
}

// Squares that overflow f32.
template <typename T>
float RstdInF64(const T* x, int64_t n, float eps) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(static_cast<float>(x[i])) * static_cast<float>(x[i]);
  return static_cast<float>(1 / std::sqrt(sum / static_cast<double>(n) + eps));
}

// y = w * (x * r), and r is returned.
template <typename T>
HWY_INLINE float NormRun(const T* x, const float* w, float eps, int64_t n, T* y) {
  const D d;
  const float sum = SumSquares(x, n);
  const float r = std::isfinite(sum) ? 1 / std::sqrt(sum / static_cast<float>(n) + eps) : RstdInF64(x, n, eps);
  const V vr = hn::Set(d, r);
  const auto at = [=](int64_t i) HWY_ATTR { return hn::Mul(hn::LoadU(d, w + i), hn::Mul(LoadVec(d, x + i), vr)); };
  int64_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) StorePair(d, at(i), at(i + kWidth), y + i);
  for (; i < n; ++i) y[i] = T(w[i] * (static_cast<float>(x[i]) * r));
  return r;
}

// sum of w * dy * (x * r)
template <typename T>
HWY_INLINE float GradDot(const T* dy, const T* x, const float* w, float r, int64_t n) {
  const D d;
  const V vr = hn::Set(d, r);
  V s = hn::Zero(d);
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    const V g = hn::Mul(hn::LoadU(d, w + i), LoadVec(d, dy + i));
    s = hn::MulAdd(g, hn::Mul(LoadVec(d, x + i), vr), s);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, s));
  for (; i < n; ++i) sum += w[i] * static_cast<float>(dy[i]) * (static_cast<float>(x[i]) * r);
  return sum;
}

// dx = r * (w*dy - x*r*c) + dsum, c = mean(w * dy * x * r).
template <typename T>
HWY_INLINE void GradRun(const NormGradRow<T>& g) {
  const D d;
  const float r = g.r, c = GradDot(g.dy, g.x, g.w, r, g.n) / static_cast<float>(g.n);
  const V vr = hn::Set(d, r), vc = hn::Set(d, c);
  const auto at = [&](int64_t i) HWY_ATTR {
    const V wdy = hn::Mul(hn::LoadU(d, g.w + i), LoadVec(d, g.dy + i));
    const V xr = hn::Mul(LoadVec(d, g.x + i), vr);
    const V own = hn::Mul(vr, hn::NegMulAdd(xr, vc, wdy));
    return g.dsum == nullptr ? own : hn::Add(own, LoadVec(d, g.dsum + i));
  };
  int64_t i = 0;
  for (; i + 2 * kWidth <= g.n; i += 2 * kWidth) StorePair(d, at(i), at(i + kWidth), g.dx + i);
  for (; i < g.n; ++i) {
    const float own = r * (g.w[i] * static_cast<float>(g.dy[i]) - static_cast<float>(g.x[i]) * r * c);
    g.dx[i] = T(g.dsum == nullptr ? own : own + static_cast<float>(g.dsum[i]));
  }
}

// dw += dy * (x * r)
template <typename T>
HWY_INLINE void AddWeightGradRun(const T* dy, const T* x, float r, int64_t n, float* dw) {
  const D d;
  const V vr = hn::Set(d, r);
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    const V xr = hn::Mul(LoadVec(d, x + i), vr);
    hn::StoreU(hn::MulAdd(LoadVec(d, dy + i), xr, hn::LoadU(d, dw + i)), d, dw + i);
  }
  for (; i < n; ++i) dw[i] += static_cast<float>(dy[i]) * (static_cast<float>(x[i]) * r);
}

template <typename T>
HWY_INLINE void AddRun(const T* x, const T* residual, int64_t n, T* sum) {
  MapRun<2, 1>({x, residual}, {sum}, n, [](D, const V* in, V* out) HWY_ATTR { out[0] = hn::Add(in[0], in[1]); });
}

void AddF32(const float* x, const float* residual, int64_t n, float* sum) { AddRun(x, residual, n, sum); }
void AddBF16(const bf16* x, const bf16* residual, int64_t n, bf16* sum) { AddRun(x, residual, n, sum); }
float NormF32(const float* x, const float* w, float eps, int64_t n, float* y) { return NormRun(x, w, eps, n, y); }
float NormBF16(const bf16* x, const float* w, float eps, int64_t n, bf16* y) { return NormRun(x, w, eps, n, y); }
void GradF32(const NormGradRow<float>& g) { GradRun(g); }
void GradBF16(const NormGradRow<bf16>& g) { GradRun(g); }
void AddWeightGradF32(const float* dy, const float* x, float r, int64_t n, float* dw) {
  AddWeightGradRun(dy, x, r, n, dw);
}
void AddWeightGradBF16(const bf16* dy, const bf16* x, float r, int64_t n, float* dw) {
  AddWeightGradRun(dy, x, r, n, dw);
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet {
namespace internal {

HWY_EXPORT(AddF32);
HWY_EXPORT(AddBF16);
HWY_EXPORT(NormF32);
HWY_EXPORT(NormBF16);
HWY_EXPORT(GradF32);
HWY_EXPORT(GradBF16);
HWY_EXPORT(AddWeightGradF32);
HWY_EXPORT(AddWeightGradBF16);

namespace {

constexpr int64_t kGrainElements = 16 * 1024;
constexpr int64_t kMaxPartials = 64;  // chunks of rows that each keep a partial dw

// float and bf16 go to the kernels above; double is for gradient checks: plain, not fast.
void Add(const float* x, const float* residual, int64_t n, float* sum) {
  HWY_DYNAMIC_DISPATCH(AddF32)(x, residual, n, sum);
}
void Add(const bf16* x, const bf16* residual, int64_t n, bf16* sum) {
  HWY_DYNAMIC_DISPATCH(AddBF16)(x, residual, n, sum);
}
void Add(const double* x, const double* residual, int64_t n, double* sum) {
  for (int64_t i = 0; i < n; ++i) sum[i] = x[i] + residual[i];
}

float Normalise(const float* x, const float* w, float eps, int64_t n, float* y) {
  return HWY_DYNAMIC_DISPATCH(NormF32)(x, w, eps, n, y);
}
float Normalise(const bf16* x, const float* w, float eps, int64_t n, bf16* y) {
  return HWY_DYNAMIC_DISPATCH(NormBF16)(x, w, eps, n, y);
}
double Normalise(const double* x, const double* w, float eps, int64_t n, double* y) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const double r = 1 / std::sqrt(sum / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = w[i] * (x[i] * r);
  return r;
}

void Grad(const NormGradRow<float>& g) { HWY_DYNAMIC_DISPATCH(GradF32)(g); }
void Grad(const NormGradRow<bf16>& g) { HWY_DYNAMIC_DISPATCH(GradBF16)(g); }
void Grad(const NormGradRow<double>& g) {
  double c = 0;
  for (int64_t i = 0; i < g.n; ++i) c += g.w[i] * g.dy[i] * (g.x[i] * g.r);
  c /= static_cast<double>(g.n);
  for (int64_t i = 0; i < g.n; ++i) {
    g.dx[i] = g.r * (g.w[i] * g.dy[i] - g.x[i] * g.r * c) + (g.dsum == nullptr ? 0 : g.dsum[i]);
  }
}

void AddWeightGrad(const float* dy, const float* x, float r, int64_t n, float* dw) {
  HWY_DYNAMIC_DISPATCH(AddWeightGradF32)(dy, x, r, n, dw);
}
void AddWeightGrad(const bf16* dy, const bf16* x, float r, int64_t n, float* dw) {
  HWY_DYNAMIC_DISPATCH(AddWeightGradBF16)(dy, x, r, n, dw);
}
void AddWeightGrad(const double* dy, const double* x, double r, int64_t n, double* dw) {
  for (int64_t i = 0; i < n; ++i) dw[i] += dy[i] * (x[i] * r);
}

// The row to normalise: x, or x + residual as it is stored in sum, so that the backward pass sees the same numbers.
template <typename T>
const T* Input(const View& x, const View& residual, const View& sum, int64_t i, std::vector<T>& a, std::vector<T>& b) {
  const T* row = Read(x, i, a);
  if (residual.rank == 0) return row;
  T* out = ToWrite(sum, i, a);
  Add(row, Read(residual, i, b), x.dims[1], out);
  Finish(out, a, sum, i);
  return Read(sum, i, a);
}

template <typename T, typename C>
void RmsNorm(const View& x, const View& residual, const View& w, float eps, const View& sum, const View& y,
             const View& rstd) {
  const int64_t rows = x.dims[0], n = x.dims[1];
  const std::vector<C> weight = Weight<C>(w);
  ParallelFor(rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(n, 1)), [&](int64_t begin, int64_t end) {
    std::vector<T> a(static_cast<size_t>(n)), b(static_cast<size_t>(n));
    for (int64_t i = begin; i < end; ++i) {
      const T* row = Input(x, residual, sum, i, a, b);
      T* out = ToWrite(y, i, b);
      rstd.ptr<C>()[i * rstd.strides[0]] = Normalise(row, weight.data(), eps, n, out);
      Finish(out, b, y, i);
    }
  });
}

template <typename T>
struct GradBuffers {
  explicit GradBuffers(int64_t n) : dy(static_cast<size_t>(n)), x(dy), dsum(dy), dx(dy) {}
  std::vector<T> dy, x, dsum, dx;
};

template <typename T, typename C>
void RmsNormGrad(const View& dy, const View& dsum, const View& x, const View& w, const View& rstd, const View& dx,
                 const View& dw) {
  const int64_t rows = x.dims[0], n = x.dims[1];
  const std::vector<C> weight = Weight<C>(w);
  const int64_t grain =
      std::max<int64_t>({1, kGrainElements / std::max<int64_t>(n, 1), (rows + kMaxPartials - 1) / kMaxPartials});
  std::vector<C> partials(dw.rank == 0 ? 0 : static_cast<size_t>((rows + grain - 1) / grain * n), C(0));
  ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
    GradBuffers<T> buffers(n);
    for (int64_t i = begin; i < end; ++i) {
      NormGradRow<T> g{.dy = Read(dy, i, buffers.dy),
                       .x = Read(x, i, buffers.x),
                       .w = weight.data(),
                       .dsum = dsum.rank == 0 ? nullptr : Read(dsum, i, buffers.dsum),
                       .r = rstd.ptr<const C>()[i * rstd.strides[0]],
                       .n = n,
                       .dx = ToWrite(dx, i, buffers.dx)};
      if (dw.rank != 0) AddWeightGrad(g.dy, g.x, g.r, n, partials.data() + begin / grain * n);  // before dx, may be dy
      Grad(g);
      Finish(g.dx, buffers.dx, dx, i);
    }
  });
  if (dw.rank == 0) return;
  std::vector<C> total(static_cast<size_t>(n), C(0));
  for (size_t i = 0; i < partials.size(); ++i) total[i % static_cast<size_t>(n)] += partials[i];
  StoreRow(total.data(), dw, 0, n, dw.strides[0]);
}

void RmsNormEntry(View x, View residual, View w, float eps, View sum, View y, View rstd, LaunchContext) {
  const auto run = x.dtype == DType::kF64           ? RmsNorm<double, double>
                   : AllBF16({x, residual, sum, y}) ? RmsNorm<bf16, float>
                                                    : RmsNorm<float, float>;
  run(x, residual, w, eps, sum, y, rstd);
}

void RmsNormGradEntry(View dy, View dsum, View x, View w, View rstd, View dx, View dw, LaunchContext) {
  const auto run = x.dtype == DType::kF64       ? RmsNormGrad<double, double>
                   : AllBF16({dy, dsum, x, dx}) ? RmsNormGrad<bf16, float>
                                                : RmsNormGrad<float, float>;
  run(dy, dsum, x, w, rstd, dx, dw);
}

}  // namespace
}  // namespace internal

const NormKernels kCpuNorm = {.rms_norm = internal::RmsNormEntry, .rms_norm_grad = internal::RmsNormGradEntry};

}  // namespace lorikeet
#endif  // HWY_ONCE
