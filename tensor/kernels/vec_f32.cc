#include "tensor/kernels/vec_f32.h"

#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/vec_f32.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "tensor/kernels/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

template <typename T, typename F>
HWY_INLINE void Map1(const T* x, T* y, int64_t n, F f) {
  MapRun<1, 1>({x}, {y}, n, [f](D d, const V* in, V* out) HWY_ATTR { out[0] = f(d, in[0]); });
}

template <typename T, typename F>
HWY_INLINE void Map2(const T* a, const T* b, T* y, int64_t n, F f) {
  MapRun<2, 1>({a, b}, {y}, n, [f](D d, const V* in, V* out) HWY_ATTR { out[0] = f(d, in[0], in[1]); });
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

template <typename T>
HWY_INLINE void BinaryRun(BinaryOp op, const T* a, const T* b, T* y, int64_t n) {
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

void Binary(BinaryOp op, const float* a, const float* b, float* y, int64_t n) { BinaryRun(op, a, b, y, n); }
void BinaryBF16(BinaryOp op, const bf16* a, const bf16* b, bf16* y, int64_t n) { BinaryRun(op, a, b, y, n); }

// kLanes running values for any width of vector: element i goes to lane i % kLanes.
constexpr int64_t kLanes = 16;
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
  HWY_ALIGN float lanes[kLanes], tail[2 * kLanes];
  for (int64_t k = 0; k < kVectors; ++k) hn::Store(sum[k], d, lanes + k * kWidth);
  Map1(x + i, tail, n - i, [s](D t, V v) HWY_ATTR { return BoundedExp(t, hn::Sub(v, s)); });
  for (int64_t k = 0; k < n - i; ++k) lanes[k] += tail[k];
  if (y != nullptr) std::memcpy(y + i, tail, static_cast<size_t>(n - i) * sizeof(float));
  float total = 0;
  for (float v : lanes) total += v;
  return total;
}

template <typename T>
HWY_INLINE void SwiGluRun(const T* gate, const T* up, T* y, int64_t n) {
  Map2(gate, up, y, n, [](D d, V g, V u) HWY_ATTR { return hn::Mul(hn::Mul(g, BoundedSigmoid(d, g)), u); });
}
void SwiGlu(const float* gate, const float* up, float* y, int64_t n) { SwiGluRun(gate, up, y, n); }
void SwiGluBF16(const bf16* gate, const bf16* up, bf16* y, int64_t n) { SwiGluRun(gate, up, y, n); }

// d silu(g)/dg = s + silu(g) * (1 - s),  s = sigmoid(g).
template <typename T>
HWY_INLINE void SwiGluGradRun(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t n) {
  MapRun<3, 2>({dy, gate, up}, {dgate, dup}, n, [](D d, const V* in, V* out) HWY_ATTR {
    const V s = BoundedSigmoid(d, in[1]);
    const V silu = hn::Mul(in[1], s);
    out[0] = hn::Mul(hn::Mul(in[0], in[2]), hn::MulAdd(silu, hn::Sub(One(d), s), s));
    out[1] = hn::Mul(in[0], silu);
  });
}
void SwiGluGrad(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n) {
  SwiGluGradRun(dy, gate, up, dgate, dup, n);
}
void SwiGluGradBF16(const bf16* dy, const bf16* gate, const bf16* up, bf16* dgate, bf16* dup, int64_t n) {
  SwiGluGradRun(dy, gate, up, dgate, dup, n);
}

// gelu(x) = x*s,  s = (1 + tanh(u))/2 = 1/(1 + e^-2u),  u = sqrt(2/pi)*(x + 0.044715*x^3);  its slope is
// s + x*s*(1-s)*2u'. Beyond +-16 s is 0 or 1 to the last bit, so that x is cut off there and x^3 stays finite.
struct Gelu {
  V value, slope;
};
HWY_INLINE Gelu GeluOf(D d, V x) {
  const V linear = hn::Set(d, 1.5957691216057308f), cubic = hn::Set(d, 0.07135481627159537f);
  const V cut = hn::Max(hn::Min(x, hn::Set(d, 16.0f)), hn::Set(d, -16.0f));
  const V c = hn::IfThenElse(hn::IsNaN(x), x, cut);
  const V cc = hn::Mul(c, c);
  const V e = BoundedExp(d, hn::Neg(hn::Mul(c, hn::MulAdd(cubic, cc, linear))));
  const V s = hn::Div(One(d), hn::Add(One(d), e));
  const V rest = hn::Mul(e, s);  // 1 - s, without the loss of digits
  const V slope_u = hn::MulAdd(hn::Mul(hn::Set(d, 3.0f), cubic), cc, linear);
  const V slope = hn::MulAdd(hn::Mul(c, s), hn::Mul(rest, slope_u), s);
  return {hn::Mul(hn::Max(x, c), s), slope};
}

template <typename T>
HWY_INLINE void GeGluRun(const T* gate, const T* up, T* y, int64_t n) {
  Map2(gate, up, y, n, [](D d, V g, V u) HWY_ATTR { return hn::Mul(GeluOf(d, g).value, u); });
}
void GeGlu(const float* gate, const float* up, float* y, int64_t n) { GeGluRun(gate, up, y, n); }
void GeGluBF16(const bf16* gate, const bf16* up, bf16* y, int64_t n) { GeGluRun(gate, up, y, n); }

template <typename T>
HWY_INLINE void GeGluGradRun(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t n) {
  MapRun<3, 2>({dy, gate, up}, {dgate, dup}, n, [](D d, const V* in, V* out) HWY_ATTR {
    const Gelu g = GeluOf(d, in[1]);
    out[0] = hn::Mul(hn::Mul(in[0], in[2]), g.slope);
    out[1] = hn::Mul(in[0], g.value);
  });
}
void GeGluGrad(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n) {
  GeGluGradRun(dy, gate, up, dgate, dup, n);
}
void GeGluGradBF16(const bf16* dy, const bf16* gate, const bf16* up, bf16* dgate, bf16* dup, int64_t n) {
  GeGluGradRun(dy, gate, up, dgate, dup, n);
}

template <typename T>
HWY_INLINE void GeluRun(const T* x, T* y, int64_t n) {
  Map1(x, y, n, [](D d, V v) HWY_ATTR { return GeluOf(d, v).value; });
}
void GeluF32(const float* x, float* y, int64_t n) { GeluRun(x, y, n); }
void GeluBF16(const bf16* x, bf16* y, int64_t n) { GeluRun(x, y, n); }

template <typename T>
HWY_INLINE void GeluGradRun(const T* dy, const T* x, T* dx, int64_t n) {
  Map2(dy, x, dx, n, [](D d, V g, V v) HWY_ATTR { return hn::Mul(g, GeluOf(d, v).slope); });
}
void GeluGradF32(const float* dy, const float* x, float* dx, int64_t n) { GeluGradRun(dy, x, dx, n); }
void GeluGradBF16(const bf16* dy, const bf16* x, bf16* dx, int64_t n) { GeluGradRun(dy, x, dx, n); }

// y = factor * e^(x - shift).
template <typename T>
HWY_INLINE void ScaledExpRun(const float* x, float shift, float factor, T* y, int64_t n) {
  const D d;
  const V s = hn::Set(d, shift), f = hn::Set(d, factor);
  const auto exp = [s, f](D t, V v) HWY_ATTR { return hn::Mul(f, BoundedExp(t, hn::Sub(v, s))); };
  int64_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) {
    StorePair(d, exp(d, LoadVec(d, x + i)), exp(d, LoadVec(d, x + i + kWidth)), y + i);
  }
  if (i == n) return;
  HWY_ALIGN float tail[2 * kWidth] = {};
  HWY_ALIGN T result[2 * kWidth];
  std::memcpy(tail, x + i, static_cast<size_t>(n - i) * sizeof(float));
  StorePair(d, exp(d, LoadVec(d, tail)), exp(d, LoadVec(d, tail + kWidth)), result);
  std::memcpy(y + i, result, static_cast<size_t>(n - i) * sizeof(T));
}
void ScaledExp(const float* x, float shift, float factor, float* y, int64_t n) { ScaledExpRun(x, shift, factor, y, n); }
void ScaledExpBF16(const float* x, float shift, float factor, bf16* y, int64_t n) {
  ScaledExpRun(x, shift, factor, y, n);
}

template <typename T>
HWY_INLINE void ScaleGradPair(const T* dy, const T* x, const float* g, T* dx, float* dot) {
  const D d;
  V scaled[2];
  for (int64_t k = 0; k < 2; ++k) {
    const int64_t at = k * kWidth;
    const V v = LoadVec(d, dy + at);
    hn::StoreU(hn::MulAdd(v, LoadVec(d, x + at), hn::LoadU(d, dot + at)), d, dot + at);
    scaled[k] = hn::Mul(v, hn::LoadU(d, g + at));
  }
  StorePair(d, scaled[0], scaled[1], dx);
}
template <typename T>
HWY_INLINE void ScaleGradRun(const T* dy, const T* x, const float* g, T* dx, float* dot, int64_t n) {
  int64_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) ScaleGradPair(dy + i, x + i, g + i, dx + i, dot + i);
  if (i == n) return;
  HWY_ALIGN T a[2 * kWidth] = {}, b[2 * kWidth] = {};
  HWY_ALIGN float c[2 * kWidth] = {}, e[2 * kWidth] = {};
  const size_t bytes = static_cast<size_t>(n - i) * sizeof(T), floats = static_cast<size_t>(n - i) * sizeof(float);
  std::memcpy(a, dy + i, bytes);
  std::memcpy(b, x + i, bytes);
  std::memcpy(c, g + i, floats);
  std::memcpy(e, dot + i, floats);
  ScaleGradPair(a, b, c, a, e);
  std::memcpy(dx + i, a, bytes);
  std::memcpy(dot + i, e, floats);
}
void ScaleGrad(const float* dy, const float* x, const float* g, float* dx, float* dot, int64_t n) {
  ScaleGradRun(dy, x, g, dx, dot, n);
}
void ScaleGradBF16(const bf16* dy, const bf16* x, const float* g, bf16* dx, float* dot, int64_t n) {
  ScaleGradRun(dy, x, g, dx, dot, n);
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
HWY_EXPORT(BinaryBF16);
HWY_EXPORT(SwiGlu);
HWY_EXPORT(SwiGluBF16);
HWY_EXPORT(SwiGluGrad);
HWY_EXPORT(SwiGluGradBF16);
HWY_EXPORT(GeGlu);
HWY_EXPORT(GeGluBF16);
HWY_EXPORT(GeGluGrad);
HWY_EXPORT(GeGluGradBF16);
HWY_EXPORT(GeluF32);
HWY_EXPORT(GeluBF16);
HWY_EXPORT(GeluGradF32);
HWY_EXPORT(GeluGradBF16);
HWY_EXPORT(ScaledExp);
HWY_EXPORT(ScaledExpBF16);
HWY_EXPORT(ScaleGrad);
HWY_EXPORT(ScaleGradBF16);

void VecUnary(UnaryOp op, const float* x, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(Unary)(op, x, y, n); }
void VecBinary(BinaryOp op, const float* a, const float* b, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(Binary)(op, a, b, y, n);
}
float VecMax(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(Max)(x, n); }
float VecExpSum(const float* x, float shift, float* y, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(ExpSum)(x, shift, y, n);
}
void VecBinary(BinaryOp op, const bf16* a, const bf16* b, bf16* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(BinaryBF16)(op, a, b, y, n);
}
void VecSwiGlu(const float* gate, const float* up, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SwiGlu)(gate, up, y, n);
}
void VecSwiGlu(const bf16* gate, const bf16* up, bf16* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SwiGluBF16)(gate, up, y, n);
}
void VecSwiGluGrad(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SwiGluGrad)(dy, gate, up, dgate, dup, n);
}
void VecSwiGluGrad(const bf16* dy, const bf16* gate, const bf16* up, bf16* dgate, bf16* dup, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SwiGluGradBF16)(dy, gate, up, dgate, dup, n);
}
void VecGeGlu(const float* gate, const float* up, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(GeGlu)(gate, up, y, n); }
void VecGeGlu(const bf16* gate, const bf16* up, bf16* y, int64_t n) { HWY_DYNAMIC_DISPATCH(GeGluBF16)(gate, up, y, n); }
void VecGeGluGrad(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n) {
  HWY_DYNAMIC_DISPATCH(GeGluGrad)(dy, gate, up, dgate, dup, n);
}
void VecGeGluGrad(const bf16* dy, const bf16* gate, const bf16* up, bf16* dgate, bf16* dup, int64_t n) {
  HWY_DYNAMIC_DISPATCH(GeGluGradBF16)(dy, gate, up, dgate, dup, n);
}
void VecGelu(const float* x, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(GeluF32)(x, y, n); }
void VecGelu(const bf16* x, bf16* y, int64_t n) { HWY_DYNAMIC_DISPATCH(GeluBF16)(x, y, n); }
void VecGeluGrad(const float* dy, const float* x, float* dx, int64_t n) {
  HWY_DYNAMIC_DISPATCH(GeluGradF32)(dy, x, dx, n);
}
void VecGeluGrad(const bf16* dy, const bf16* x, bf16* dx, int64_t n) {
  HWY_DYNAMIC_DISPATCH(GeluGradBF16)(dy, x, dx, n);
}
void VecScaledExp(const float* x, float shift, float factor, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(ScaledExp)(x, shift, factor, y, n);
}
void VecScaledExp(const float* x, float shift, float factor, bf16* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(ScaledExpBF16)(x, shift, factor, y, n);
}
void VecScaleGrad(const float* dy, const float* x, const float* g, float* dx, float* dot, int64_t n) {
  HWY_DYNAMIC_DISPATCH(ScaleGrad)(dy, x, g, dx, dot, n);
}
void VecScaleGrad(const bf16* dy, const bf16* x, const float* g, bf16* dx, float* dot, int64_t n) {
  HWY_DYNAMIC_DISPATCH(ScaleGradBF16)(dy, x, g, dx, dot, n);
}

}  // namespace lorikeet::internal
#endif  // HWY_ONCE
