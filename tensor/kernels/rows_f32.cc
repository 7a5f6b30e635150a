#include "tensor/kernels/rows_f32.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/rows_bf16_avx512.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/rows_f32.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;

void WidenBF16Impl(const bf16* x, int64_t n, float* out) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> half;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const uint16_t* bits = &x->bits;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(half, bits + i)))), d, out + i);
  }
  for (; i < n; ++i) out[i] = x[i];
}

void NarrowBF16Impl(const float* x, int64_t n, bf16* out) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint16_t, D> half;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto one = hn::Set(du, 1), below_half = hn::Set(du, 0x7fff), quiet = hn::Set(du, 0x40);
  uint16_t* bits = &out->bits;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    const auto u = hn::BitCast(du, v), upper = hn::ShiftRight<16>(u);
    const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(below_half, hn::And(upper, one))));
    const auto y = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), hn::Or(upper, quiet), rounded);
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(di, y)), half, bits + i);
  }
  for (; i < n; ++i) out[i] = bf16(x[i]);
}

// x - x is 0 for finite numbers and NaN for the rest, and a sum with NaN is NaN.
bool AllFiniteImpl(const float* x, int64_t n) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto u = hn::LoadU(d, x + i), v = hn::LoadU(d, x + i + lanes);
    a = hn::Add(a, hn::Sub(u, u));
    b = hn::Add(b, hn::Sub(v, v));
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
  for (; i < n; ++i) sum += x[i] - x[i];
  return !std::isnan(sum);
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet::internal {

HWY_EXPORT(WidenBF16Impl);
HWY_EXPORT(NarrowBF16Impl);
HWY_EXPORT(AllFiniteImpl);

void WidenBF16(const bf16* x, int64_t n, float* out) { HWY_DYNAMIC_DISPATCH(WidenBF16Impl)(x, n, out); }
void NarrowBF16(const float* x, int64_t n, bf16* out) {
  static const bool has_instruction = __builtin_cpu_supports("avx512bf16");
  for (int64_t done = 0; done < n;) {
    if (has_instruction) done += NarrowBF16Avx512(x + done, n - done, &out[done].bits);
    // What it left: a tail, or 64 with a denormal among them.
    const int64_t rest = std::min<int64_t>(n - done, has_instruction ? 64 : n);
    HWY_DYNAMIC_DISPATCH(NarrowBF16Impl)(x + done, rest, out + done);
    done += rest;
  }
}
bool AllFinite(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(AllFiniteImpl)(x, n); }

}  // namespace lorikeet::internal
#endif  // HWY_ONCE
