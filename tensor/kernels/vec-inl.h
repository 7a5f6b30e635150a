// Runs of f32 or bf16 as vectors of f32, for the files of this package that Highway compiles once for every instruction
// set. Included by them after hwy/highway.h; not a header of its own, hence no ordinary guard.
//
//   MapRun<2, 1>({a, b}, {y}, n, [](D d, const V* in, V* out) HWY_ATTR { out[0] = hn::Add(in[0], in[1]); });
//
// T is float or bf16. bf16 is widened on its way in and rounded to nearest even on its way out (NaN stays NaN, quiet),
// in registers. Elements go in pairs of vectors; the last, partial pair goes through a buffer and the same
// instructions, so that an element's bits depend neither on its place nor on the width of a vector.
#if defined(LORIKEET_TENSOR_KERNELS_VEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LORIKEET_TENSOR_KERNELS_VEC_INL_H_
#undef LORIKEET_TENSOR_KERNELS_VEC_INL_H_
#else
#define LORIKEET_TENSOR_KERNELS_VEC_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int64_t kWidth = static_cast<int64_t>(hn::MaxLanes(D()));

HWY_INLINE V LoadVec(D d, const float* p) { return hn::LoadU(d, p); }
HWY_INLINE V LoadVec(D d, const bf16* p) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> half;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(half, &p->bits))));
}

// The bits of v, whose upper halves are those of bf16(v).
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> RoundedBits(V v) {
  const hn::RebindToUnsigned<D> du;
  const auto u = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1));
  const auto rounded = hn::Add(u, hn::Add(hn::Set(du, 0x7fff), odd));
  const auto quiet = hn::Or(u, hn::Set(du, 0x400000));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
}

HWY_INLINE void StorePair(D d, V a, V b, float* p) {
  hn::StoreU(a, d, p);
  hn::StoreU(b, d, p + kWidth);
}
HWY_INLINE void StorePair(D, V a, V b, bf16* p) {
  const hn::Repartition<uint16_t, D> d16;
  const auto low = hn::BitCast(d16, RoundedBits(a)), high = hn::BitCast(d16, RoundedBits(b));
  hn::StoreU(hn::ConcatOdd(d16, high, low), d16, &p->bits);
}

template <int kIn, int kOut, typename T, typename F>
HWY_INLINE void MapPair(D d, const T* const* in, int64_t from, T* const* out, int64_t to, const F& f) {
  V a[kIn + 1], b[kIn + 1], ya[kOut], yb[kOut];
  for (int k = 0; k < kIn; ++k) {
    a[k] = LoadVec(d, in[k] + from);
    b[k] = LoadVec(d, in[k] + from + kWidth);
  }
  f(d, a, ya);
  f(d, b, yb);
  for (int k = 0; k < kOut; ++k) StorePair(d, ya[k], yb[k], out[k] + to);
}

// out[k][i] = f(in[..][i])[k] for i < n. Outputs may be inputs.
template <int kIn, int kOut, typename T, typename F>
HWY_INLINE void MapRun(const T* const (&in)[kIn], T* const (&out)[kOut], int64_t n, const F& f) {
  const D d;
  int64_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) MapPair<kIn, kOut>(d, in, i, out, i, f);
  if (i == n) return;
  HWY_ALIGN T tail[kIn][2 * kWidth] = {}, result[kOut][2 * kWidth];
  const T* from[kIn];
  T* to[kOut];
  const size_t bytes = static_cast<size_t>(n - i) * sizeof(T);
  for (int k = 0; k < kIn; ++k) {
    std::memcpy(tail[k], in[k] + i, bytes);
    from[k] = tail[k];
  }
  for (int k = 0; k < kOut; ++k) to[k] = result[k];
  MapPair<kIn, kOut>(d, from, 0, to, 0, f);
  for (int k = 0; k < kOut; ++k) std::memcpy(out[k] + i, result[k], bytes);
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#endif  // LORIKEET_TENSOR_KERNELS_VEC_INL_H_
