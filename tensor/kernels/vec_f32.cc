#include "tensor/kernels/vec_f32.h"

#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/vec_f32.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// The last, partial vector goes through a buffer and the same instructions, so that an element's bits do not depend on
// its place.
template <typename F>
HWY_INLINE void Map1(const float* x, float* y, int64_t n, F f) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, x + i)), d, y + i);
  if (i == n) return;
  HWY_ALIGN float tail[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(tail, x + i, static_cast<size_t>(n - i) * sizeof(float));
  hn::Store(f(d, hn::Load(d, tail)), d, tail);
  std::memcpy(y + i, tail, static_cast<size_t>(n - i) * sizeof(float));
}

template <typename F>
HWY_INLINE void Map2(const float* a, const float* b, float* y, int64_t n, F f) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  if (i == n) return;
  HWY_ALIGN float ta[HWY_MAX_BYTES / sizeof(float)] = {}, tb[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(ta, a + i, static_cast<size_t>(n - i) * sizeof(float));
  std::memcpy(tb, b + i, static_cast<size_t>(n - i) * sizeof(float));
  hn::Store(f(d, hn::Load(d, ta), hn::Load(d, tb)), d, ta);
  std::memcpy(y + i, ta, static_cast<size_t>(n - i) * sizeof(float));
}

// hn::Exp makes 0 of NaN and is undefined for large x.
HWY_INLINE V Exp(D d, V x) {
  const V y = hn::Exp(d, hn::Min(x, hn::Set(d, 90.0f)));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// For sums and gates: half the work of Exp. e^x within 1 ulp for -87.3 < x < 88.3; below, where it would be denormal or
// less, it goes to 0, and above it stays finite. NaN stays NaN. x = n*ln(2) + r, |r| <= ln(2)/2, n an integer; e^r =
// 1 + r + r^2*p(r), p fitted to the least relative error; ln(2) in two parts, so that n times the first is exact.
HWY_INLINE V BoundedExp(D d, V x) {
  const hn::Rebind<int32_t, D> di;
  const V c = hn::Max(hn::Min(x, hn::Set(d, 88.37f)), hn::Set(d, -88.0f));
  const V n = hn::Round(hn::Mul(c, hn::Set(d, 1.44269504f)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), c);
  r = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), r);
  V p = hn::MulAdd(r, hn::Set(d, 0.001381459878757596f), hn::Set(d, 0.008368716575205326f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.04166838899254799f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.1666652113199234f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.4999999403953552f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(p, hn::BitCast(d, power)));
}

// hn::Log is defined for positive finite numbers.
HWY_INLINE V Log(D d, V x) {
  const V inf = hn::Set(d, std::numeric_limits<float>::infinity());
  V y = hn::Log(d, x);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(inf), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Set(d, std::numeric_limits<float>::quiet_NaN()), y);
  return hn::IfThenElse(hn::Or(hn::Eq(x, inf), hn::IsNaN(x)), x, y);
}

// x86's max and min return the second operand if either is NaN.
HWY_INLINE V Maximum(V a, V b) { return hn::IfThenElse(hn::IsNaN(a), a, hn::Max(a, b)); }
HWY_INLINE V Minimum(V a, V b) { return hn::IfThenElse(hn::IsNaN(a), a, hn::Min(a, b)); }

HWY_INLINE V One(D d) { return hn::Set(d, 1.0f); }
HWY_INLINE V OnePlusExpOfMinus(D d, V x) { return hn::Add(One(d), Exp(d, hn::Neg(x))); }
HWY_INLINE V BoundedSigmoid(D d, V x) { return hn::Div(One(d), hn::Add(One(d), BoundedExp(d, hn::Neg(x)))); }

HWY_INLINE V Sign(D d, V x) {
  const V signed_one = hn::CopySign(One(d), x);
  return hn::IfThenElse(hn::Or(hn::Eq(x, hn::Zero(d)), hn::IsNaN(x)), x, signed_one);
}

void Unary(UnaryOp op, const float* x, float* y, int64_t n) {
  switch (op) {
    case UnaryOp::kNeg:
      return Map1(x, y, n, [](D, V v) HWY_ATTR { return hn::Neg(v); });
    case UnaryOp::kAbs:
      return Map1(x, y, n, [](D, V v) HWY_ATTR { return hn::Abs(v); });
    case UnaryOp::kSign:
      return Map1(x, y, n, [](D d, V v) HWY_ATTR { return Sign(d, v); });
    case UnaryOp::kExp:
      return Map1(x, y, n, [](D d, V v) HWY_ATTR { return Exp(d, v); });
    case UnaryOp::kLog:
      return Map1(x, y, n, [](D d, V v) HWY_ATTR { return Log(d, v); });
    case UnaryOp::kSqrt:
      return Map1(x, y, n, [](D, V v) HWY_ATTR { return hn::Sqrt(v); });
    case UnaryOp::kRsqrt:
      return Map1(x, y, n, [](D d, V v) HWY_ATTR { return hn::Div(One(d), hn::Sqrt(v)); });
    case UnaryOp::kReciprocal:
      return Map1(x, y, n, [](D d, V v) HWY_ATTR { return hn::Div(One(d), v); });
    case UnaryOp::kSquare:
      return Map1(x, y, n, [](D, V v) HWY_ATTR { return hn::Mul(v, v); });
    case UnaryOp::kTanh:
      return Map1(x, y, n, [](D d, V v) HWY_ATTR { return hn::Tanh(d, v); });
    case UnaryOp::kSigmoid:
      return Map1(x, y, n, [](D d, V v) HWY_ATTR { return hn::Div(One(d), OnePlusExpOfMinus(d, v)); });
    case UnaryOp::kSilu:
      return Map1(x, y, n, [](D d, V v) HWY_ATTR { return hn::Div(v, OnePlusExpOfMinus(d, v)); });
  }
}

void Binary(BinaryOp op, const float* a, const float* b, float* y, int64_t n) {
  switch (op) {
    case BinaryOp::kAdd:
      return Map2(a, b, y, n, [](D, V s, V t) HWY_ATTR { return hn::Add(s, t); });
    case BinaryOp::kSub:
      return Map2(a, b, y, n, [](D, V s, V t) HWY_ATTR { return hn::Sub(s, t); });
    case BinaryOp::kMul:
      return Map2(a, b, y, n, [](D, V s, V t) HWY_ATTR { return hn::Mul(s, t); });
    case BinaryOp::kDiv:
      return Map2(a, b, y, n, [](D, V s, V t) HWY_ATTR { return hn::Div(s, t); });
    case BinaryOp::kMaximum:
      return Map2(a, b, y, n, [](D, V s, V t) HWY_ATTR { return Maximum(s, t); });
    case BinaryOp::kMinimum:
      return Map2(a, b, y, n, [](D, V s, V t) HWY_ATTR { return Minimum(s, t); });
    case BinaryOp::kEqual:
      return Map2(a, b, y, n, [](D d, V s, V t) HWY_ATTR { return hn::IfThenElseZero(hn::Eq(s, t), One(d)); });
    case BinaryOp::kGreater:
      return Map2(a, b, y, n, [](D d, V s, V t) HWY_ATTR { return hn::IfThenElseZero(hn::Gt(s, t), One(d)); });
  }
}

// kLanes running values for any width of vector: element i goes to lane i % kLanes.
constexpr int64_t kLanes = 16;
constexpr int64_t kWidth = static_cast<int64_t>(hn::MaxLanes(D()));
constexpr int64_t kVectors = kLanes / kWidth;
static_assert(kVectors * kWidth == kLanes);

float Max(const float* x, int64_t n) {
  const D d;
  const V lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  V max[kVectors];
  for (V& m : max) m = lowest;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kVectors; ++k) max[k] = Maximum(max[k], hn::LoadU(d, x + i + k * kWidth));
  }
  HWY_ALIGN float lanes[kLanes];
  for (int64_t k = 0; k < kVectors; ++k) hn::Store(max[k], d, lanes + k * kWidth);
  float result = lanes[0];
  const auto take = [&](float v) { result = result != result || result > v ? result : v; };
  for (float v : lanes) take(v);
  for (; i < n; ++i) take(x[i]);
  return result;
}

float ExpSum(const float* x, float shift, float* y, int64_t n) {
  const D d;
  const V s = hn::Set(d, shift);
  V sum[kVectors];
  for (V& v : sum) v = hn::Zero(d);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kVectors; ++k) {
      const V e = BoundedExp(d, hn::Sub(hn::LoadU(d, x + i + k * kWidth), s));
      if (y != nullptr) hn::StoreU(e, d, y + i + k * kWidth);
      sum[k] = hn::Add(sum[k], e);
    }
  }
  HWY_ALIGN float lanes[kLanes], tail[kLanes];
  for (int64_t k = 0; k < kVectors; ++k) hn::Store(sum[k], d, lanes + k * kWidth);
  Map1(x + i, tail, n - i, [s](D t, V v) HWY_ATTR { return BoundedExp(t, hn::Sub(v, s)); });
  for (int64_t k = 0; k < n - i; ++k) lanes[k] += tail[k];
  if (y != nullptr) std::memcpy(y + i, tail, static_cast<size_t>(n - i) * sizeof(float));
  float total = 0;
  for (float v : lanes) total += v;
  return total;
}

void SwiGlu(const float* gate, const float* up, float* y, int64_t n) {
  Map2(gate, up, y, n, [](D d, V g, V u) HWY_ATTR { return hn::Mul(hn::Mul(g, BoundedSigmoid(d, g)), u); });
}

// d silu(g)/dg = s + silu(g) * (1 - s),  s = sigmoid(g).
HWY_INLINE void SwiGluGradVector(D d, V dy, V g, V u, V& dgate, V& dup) {
  const V s = BoundedSigmoid(d, g);
  const V silu = hn::Mul(g, s);
  dgate = hn::Mul(hn::Mul(dy, u), hn::MulAdd(silu, hn::Sub(One(d), s), s));
  dup = hn::Mul(dy, silu);
}

void SwiGluGrad(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n) {
  const D d;
  V dg, du;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    SwiGluGradVector(d, hn::LoadU(d, dy + i), hn::LoadU(d, gate + i), hn::LoadU(d, up + i), dg, du);
    hn::StoreU(dg, d, dgate + i);
    hn::StoreU(du, d, dup + i);
  }
  if (i == n) return;
  HWY_ALIGN float a[kWidth] = {}, b[kWidth] = {}, c[kWidth] = {};
  const size_t bytes = static_cast<size_t>(n - i) * sizeof(float);
  std::memcpy(a, dy + i, bytes);
  std::memcpy(b, gate + i, bytes);
  std::memcpy(c, up + i, bytes);
  SwiGluGradVector(d, hn::Load(d, a), hn::Load(d, b), hn::Load(d, c), dg, du);
  hn::Store(dg, d, a);
  hn::Store(du, d, b);
  std::memcpy(dgate + i, a, bytes);
  std::memcpy(dup + i, b, bytes);
}

HWY_INLINE void ScaleGradVector(const float* dy, const float* x, const float* g, float* dx, float* dot) {
  const D d;
  const V v = hn::LoadU(d, dy);
  hn::StoreU(hn::MulAdd(v, hn::LoadU(d, x), hn::LoadU(d, dot)), d, dot);
  hn::StoreU(hn::Mul(v, hn::LoadU(d, g)), d, dx);
}

void ScaleGrad(const float* dy, const float* x, const float* g, float* dx, float* dot, int64_t n) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) ScaleGradVector(dy + i, x + i, g + i, dx + i, dot + i);
  if (i == n) return;
  HWY_ALIGN float a[kWidth] = {}, b[kWidth] = {}, c[kWidth] = {}, e[kWidth] = {};
  const size_t bytes = static_cast<size_t>(n - i) * sizeof(float);
  std::memcpy(a, dy + i, bytes);
  std::memcpy(b, x + i, bytes);
  std::memcpy(c, g + i, bytes);
  std::memcpy(e, dot + i, bytes);
  ScaleGradVector(a, b, c, a, e);
  std::memcpy(dx + i, a, bytes);
  std::memcpy(dot + i, e, bytes);
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet::internal {

HWY_EXPORT(Unary);
HWY_EXPORT(Binary);
HWY_EXPORT(Max);
HWY_EXPORT(ExpSum);
HWY_EXPORT(SwiGlu);
HWY_EXPORT(SwiGluGrad);
HWY_EXPORT(ScaleGrad);

void VecUnary(UnaryOp op, const float* x, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(Unary)(op, x, y, n); }
void VecBinary(BinaryOp op, const float* a, const float* b, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(Binary)(op, a, b, y, n);
}
float VecMax(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(Max)(x, n); }
float VecExpSum(const float* x, float shift, float* y, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(ExpSum)(x, shift, y, n);
}
void VecSwiGlu(const float* gate, const float* up, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SwiGlu)(gate, up, y, n);
}
void VecSwiGluGrad(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SwiGluGrad)(dy, gate, up, dgate, dup, n);
}
void VecScaleGrad(const float* dy, const float* x, const float* g, float* dx, float* dot, int64_t n) {
  HWY_DYNAMIC_DISPATCH(ScaleGrad)(dy, x, g, dx, dot, n);
}

}  // namespace lorikeet::internal
#endif  // HWY_ONCE
