#include "tensor/kernels/norm.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/rows.h"
#include "tensor/view.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/norm_cpu.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// Two accumulators hide the latency of the addition.
float SumSquares(const float* x, int64_t n) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V s0 = hn::Zero(d), s1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const V a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + lanes);
    s0 = hn::MulAdd(a, a, s0);
    s1 = hn::MulAdd(b, b, s1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

// y = w * (x * r)
void ScaleRow(const float* x, const float* w, float r, int64_t n, float* y) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V vr = hn::Set(d, r);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, w + i), hn::Mul(hn::LoadU(d, x + i), vr)), d, y + i);
  }
  for (; i < n; ++i) y[i] = w[i] * (x[i] * r);
}

// sum(w * dy * x * r)
float GradDot(const float* dy, const float* x, const float* w, float r, int64_t n) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V vr = hn::Set(d, r);
  V s = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V g = hn::Mul(hn::LoadU(d, w + i), hn::LoadU(d, dy + i));
    s = hn::MulAdd(g, hn::Mul(hn::LoadU(d, x + i), vr), s);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, s));
  for (; i < n; ++i) sum += w[i] * dy[i] * (x[i] * r);
  return sum;
}

// dx = r * (w*dy - x*r*c)
void GradRow(const float* dy, const float* x, const float* w, float r, float c, int64_t n, float* dx) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V vr = hn::Set(d, r), vc = hn::Set(d, c);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V g = hn::Mul(hn::LoadU(d, w + i), hn::LoadU(d, dy + i));
    const V xr = hn::Mul(hn::LoadU(d, x + i), vr);
    hn::StoreU(hn::Mul(vr, hn::NegMulAdd(xr, vc, g)), d, dx + i);
  }
  for (; i < n; ++i) dx[i] = r * (w[i] * dy[i] - x[i] * r * c);
}

// dw += dy * (x * r)
void AddWeightGrad(const float* dy, const float* x, float r, int64_t n, float* dw) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V vr = hn::Set(d, r);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V xr = hn::Mul(hn::LoadU(d, x + i), vr);
    hn::StoreU(hn::MulAdd(hn::LoadU(d, dy + i), xr, hn::LoadU(d, dw + i)), d, dw + i);
  }
  for (; i < n; ++i) dw[i] += dy[i] * (x[i] * r);
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet {
namespace internal {

HWY_EXPORT(SumSquares);
HWY_EXPORT(ScaleRow);
HWY_EXPORT(GradDot);
HWY_EXPORT(GradRow);
HWY_EXPORT(AddWeightGrad);

namespace {

constexpr int64_t kGrainElements = 16 * 1024;
constexpr int64_t kMaxPartials = 64;  // chunks of rows that each keep a partial dw

// float goes to the kernels above; double is for gradient checks: plain, not fast.
double SumSquaresF64(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}
float Rstd(const float* x, int64_t n, float eps) {
  const float sum = HWY_DYNAMIC_DISPATCH(SumSquares)(x, n);
  if (std::isfinite(sum)) return 1 / std::sqrt(sum / static_cast<float>(n) + eps);
  return static_cast<float>(1 / std::sqrt(SumSquaresF64(x, n) / static_cast<double>(n) + eps));
}
double Rstd(const double* x, int64_t n, float eps) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return 1 / std::sqrt(sum / static_cast<double>(n) + eps);
}

void Scale(const float* x, const float* w, float r, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(ScaleRow)(x, w, r, n, y);
}
void Scale(const double* x, const double* w, double r, int64_t n, double* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = w[i] * (x[i] * r);
}

void Grad(const float* dy, const float* x, const float* w, float r, int64_t n, float* dx) {
  const float c = HWY_DYNAMIC_DISPATCH(GradDot)(dy, x, w, r, n) / static_cast<float>(n);
  HWY_DYNAMIC_DISPATCH(GradRow)(dy, x, w, r, c, n, dx);
}
void Grad(const double* dy, const double* x, const double* w, double r, int64_t n, double* dx) {
  double c = 0;
  for (int64_t i = 0; i < n; ++i) c += w[i] * dy[i] * (x[i] * r);
  c /= static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) dx[i] = r * (w[i] * dy[i] - x[i] * r * c);
}

void AddDw(const float* dy, const float* x, float r, int64_t n, float* dw) {
  HWY_DYNAMIC_DISPATCH(AddWeightGrad)(dy, x, r, n, dw);
}
void AddDw(const double* dy, const double* x, double r, int64_t n, double* dw) {
  for (int64_t i = 0; i < n; ++i) dw[i] += dy[i] * (x[i] * r);
}

template <typename C>
const C* Read(const View& v, int64_t row, std::vector<C>& buffer) {
  return ReadRow(v, row * v.strides[0], v.dims[1], v.strides[1], buffer.data());
}

template <typename C>
void Write(const C* row, const View& v, int64_t i) {
  StoreRow(row, v, i * v.strides[0], v.dims[1], v.strides[1]);
}

// The row to normalise: x, or x + residual as it is stored in sum, so that the backward pass sees the same numbers.
template <typename C>
const C* Input(const View& x, const View& residual, const View& sum, int64_t i, std::vector<C>& a, std::vector<C>& b) {
  const C* row = Read(x, i, a);
  if (residual.rank == 0) return row;
  const C* other = Read(residual, i, b);
  for (int64_t j = 0; j < x.dims[1]; ++j) a[j] = row[j] + other[j];
  Write(a.data(), sum, i);
  return Read(sum, i, a);
}

template <typename C>
std::vector<C> Weight(const View& w) {
  std::vector<C> out(static_cast<size_t>(w.dims[0]));
  CopyRow(w, 0, w.dims[0], w.strides[0], out.data());
  return out;
}

template <typename C>
void RmsNorm(const View& x, const View& residual, const View& w, float eps, const View& sum, const View& y,
             const View& rstd) {
  const int64_t rows = x.dims[0], n = x.dims[1];
  const std::vector<C> weight = Weight<C>(w);
  ParallelFor(rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(n, 1)), [&](int64_t begin, int64_t end) {
    std::vector<C> a(static_cast<size_t>(n)), b(static_cast<size_t>(n));
    for (int64_t i = begin; i < end; ++i) {
      const C* row = Input(x, residual, sum, i, a, b);
      const C r = Rstd(row, n, eps);
      rstd.ptr<C>()[i * rstd.strides[0]] = r;
      C* out = RowToWrite(y, i * y.strides[0], y.strides[1], b.data());
      Scale(row, weight.data(), r, n, out);
      FinishRow(out, b.data(), y, i * y.strides[0], n, y.strides[1]);
    }
  });
}

template <typename C>
struct GradBuffers {
  explicit GradBuffers(int64_t n) : dy(static_cast<size_t>(n)), x(dy), dsum(dy), dx(dy) {}
  std::vector<C> dy, x, dsum, dx;
};

// One row of dx; adds the row's part to dw_part if there is one.
template <typename C>
void GradOfRow(const View& dy, const View& dsum, const View& x, const std::vector<C>& weight, C r, const View& dx,
               int64_t i, C* dw_part, GradBuffers<C>& buffers) {
  const int64_t n = x.dims[1];
  const C* g = Read(dy, i, buffers.dy);
  const C* row = Read(x, i, buffers.x);
  Grad(g, row, weight.data(), r, n, buffers.dx.data());
  if (dw_part != nullptr) AddDw(g, row, r, n, dw_part);
  if (dsum.rank != 0) {
    const C* more = Read(dsum, i, buffers.dsum);
    for (int64_t j = 0; j < n; ++j) buffers.dx[j] += more[j];
  }
  Write(buffers.dx.data(), dx, i);
}

template <typename C>
void RmsNormGrad(const View& dy, const View& dsum, const View& x, const View& w, const View& rstd, const View& dx,
                 const View& dw) {
  const int64_t rows = x.dims[0], n = x.dims[1];
  const std::vector<C> weight = Weight<C>(w);
  const int64_t grain =
      std::max<int64_t>({1, kGrainElements / std::max<int64_t>(n, 1), (rows + kMaxPartials - 1) / kMaxPartials});
  std::vector<C> partials(dw.rank == 0 ? 0 : static_cast<size_t>((rows + grain - 1) / grain * n), C(0));
  ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
    GradBuffers<C> buffers(n);
    C* part = dw.rank == 0 ? nullptr : partials.data() + begin / grain * n;
    for (int64_t i = begin; i < end; ++i) {
      GradOfRow(dy, dsum, x, weight, rstd.ptr<const C>()[i * rstd.strides[0]], dx, i, part, buffers);
    }
  });
  if (dw.rank == 0) return;
  std::vector<C> total(static_cast<size_t>(n), C(0));
  for (size_t i = 0; i < partials.size(); ++i) total[i % static_cast<size_t>(n)] += partials[i];
  StoreRow(total.data(), dw, 0, n, dw.strides[0]);
}

void RmsNormEntry(View x, View residual, View w, float eps, View sum, View y, View rstd, LaunchContext) {
  if (x.dtype == DType::kF64) return RmsNorm<double>(x, residual, w, eps, sum, y, rstd);
  RmsNorm<float>(x, residual, w, eps, sum, y, rstd);
}

void RmsNormGradEntry(View dy, View dsum, View x, View w, View rstd, View dx, View dw, LaunchContext) {
  if (x.dtype == DType::kF64) return RmsNormGrad<double>(dy, dsum, x, w, rstd, dx, dw);
  RmsNormGrad<float>(dy, dsum, x, w, rstd, dx, dw);
}

}  // namespace
}  // namespace internal

const NormKernels kCpuNorm = {.rms_norm = internal::RmsNormEntry, .rms_norm_grad = internal::RmsNormGradEntry};

}  // namespace lorikeet
#endif  // HWY_ONCE
