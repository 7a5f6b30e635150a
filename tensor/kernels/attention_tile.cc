#include "tensor/kernels/attention_tile.h"

#include <cstdint>
#include <limits>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/attention_tile.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, kLaneStep>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;
constexpr int64_t kWidth = static_cast<int64_t>(hn::MaxLanes(D()));
// 6x4 sums where there are 32 registers (AVX-512), 6x2 where there are 16.
constexpr int kMaxVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// f(constant 0), f(constant 1), ...: sums stay in registers only if every subscript is a constant.
template <int N, typename F>
HWY_INLINE HWY_ATTR void Unroll(const F& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) HWY_ATTR { (f(std::integral_constant<int, I>{}), ...); }
  (std::make_integer_sequence<int, N>{});
}

// kRows rows by kVectors vectors of columns.
template <int kRows, int kVectors>
HWY_ATTR void Block(const ProductArgs& p, int64_t row, int64_t column) {
  const D d;
  V sum[kRows][kVectors];
  float* c = p.c + row * p.c_row + column;
  Unroll<kRows>([&](auto i) HWY_ATTR {
    const V scale = hn::Set(d, p.row_scale == nullptr ? 1.0f : p.row_scale[row + i]);
    Unroll<kVectors>([&](auto j) HWY_ATTR {
      sum[i][j] = p.add ? hn::Mul(scale, hn::LoadU(d, c + i * p.c_row + j * kWidth)) : hn::Zero(d);
    });
  });
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + column;
  const int64_t a_row = p.a_row, a_step = p.a_step, b_row = p.b_row;
  for (int64_t k = p.steps; k > 0; --k, a += a_step, b += b_row) {
    V right[kVectors];
    Unroll<kVectors>([&](auto j) HWY_ATTR { right[j] = hn::LoadU(d, b + j * kWidth); });
    Unroll<kRows>([&](auto i) HWY_ATTR {
      const V left = hn::Set(d, a[i * a_row]);
      Unroll<kVectors>([&](auto j) HWY_ATTR { sum[i][j] = hn::MulAdd(left, right[j], sum[i][j]); });
    });
  }
  Unroll<kRows>([&](auto i) HWY_ATTR {
    Unroll<kVectors>([&](auto j) HWY_ATTR { hn::StoreU(sum[i][j], d, c + i * p.c_row + j * kWidth); });
  });
}

template <int kVectors>
HWY_ATTR void Columns(const ProductArgs& p, int64_t column) {
  static_assert(kProductRows == 6);
  int64_t row = 0;
  for (; row + 6 <= p.rows; row += 6) Block<6, kVectors>(p, row, column);
  switch (p.rows - row) {
    case 5:
      return Block<5, kVectors>(p, row, column);
    case 4:
      return Block<4, kVectors>(p, row, column);
    case 3:
      return Block<3, kVectors>(p, row, column);
    case 2:
      return Block<2, kVectors>(p, row, column);
    case 1:
      return Block<1, kVectors>(p, row, column);
  }
}

void ProductImpl(const ProductArgs& p) {
  int64_t column = 0;
  for (; column + kMaxVectors * kWidth <= p.columns; column += kMaxVectors * kWidth) Columns<kMaxVectors>(p, column);
  switch ((p.columns - column) / kWidth) {
    case 3:
      return Columns<3>(p, column);
    case 2:
      return Columns<2>(p, column);
    case 1:
      return Columns<1>(p, column);
  }
}

// In blocks of 4 x 4.
void TransposeImpl(const float* tile, int64_t width, int64_t d, float factor, float* out) {
  const hn::FixedTag<float, 4> d4;
  const hn::Repartition<double, decltype(d4)> d2;
  const auto f = hn::Set(d4, factor);
  for (int64_t i = 0; i < d; i += 4) {
    for (int64_t r = 0; r < kLanes; r += 4) {
      const float* at = tile + r * width + i;
      const auto a = hn::LoadU(d4, at), b = hn::LoadU(d4, at + width), c = hn::LoadU(d4, at + 2 * width),
                 e = hn::LoadU(d4, at + 3 * width);
      const auto ab0 = hn::BitCast(d2, hn::InterleaveLower(d4, a, b)),
                 ab1 = hn::BitCast(d2, hn::InterleaveUpper(d4, a, b));
      const auto ce0 = hn::BitCast(d2, hn::InterleaveLower(d4, c, e)),
                 ce1 = hn::BitCast(d2, hn::InterleaveUpper(d4, c, e));
      float* to = out + i * kLanes + r;
      hn::StoreU(hn::Mul(f, hn::BitCast(d4, hn::InterleaveLower(d2, ab0, ce0))), d4, to);
      hn::StoreU(hn::Mul(f, hn::BitCast(d4, hn::InterleaveUpper(d2, ab0, ce0))), d4, to + kLanes);
      hn::StoreU(hn::Mul(f, hn::BitCast(d4, hn::InterleaveLower(d2, ab1, ce1))), d4, to + 2 * kLanes);
      hn::StoreU(hn::Mul(f, hn::BitCast(d4, hn::InterleaveUpper(d2, ab1, ce1))), d4, to + 3 * kLanes);
    }
  }
}

// 2^x for x below 128; 0 below -126. NaN stays NaN. The polynomial is a Chebyshev fit of (2^f - 1) / f on [-1/2, 1/2].
HWY_INLINE HWY_ATTR V Exp2(D d, V x) {
  const hn::Rebind<int32_t, D> di;
  const V n = hn::Round(x), f = hn::Sub(x, n);
  V p = hn::MulAdd(f, hn::Set(d, 0.000154614478f), hn::Set(d, 0.00133908668f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.00961805694f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.0555035695f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.240226507f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.693147182f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::ConvertTo(di, n));
  const V y = hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0f)), y);
}

// Highway's makes a number of NaN.
HWY_INLINE HWY_ATTR V Tanh(D d, V x) { return hn::IfThenElse(hn::IsNaN(x), x, hn::Tanh(d, x)); }

HWY_INLINE HWY_ATTR M Seen(D d, int64_t row, V first, V last) {
  const V t = hn::Set(d, static_cast<float>(row));
  return hn::And(hn::Ge(t, first), hn::Lt(t, last));
}

// The tile rows that any lane of a vector sees.
struct Rows {
  int64_t begin, end;
};
HWY_INLINE Rows RowsSeen(const TileArgs& t, int64_t lane) {
  const int64_t last = lane + kWidth < t.lanes ? lane + kWidth - 1 : t.lanes - 1;
  return {static_cast<int64_t>(t.first[lane]), static_cast<int64_t>(t.last[last])};
}

HWY_INLINE HWY_ATTR void ZeroOutside(const TileArgs& t, Rows rows, int64_t lane, float* x) {
  const D d;
  for (int64_t row = 0; row < rows.begin; ++row) hn::StoreU(hn::Zero(d), d, x + row * kLanes + lane);
  for (int64_t row = rows.end; row < t.rows; ++row) hn::StoreU(hn::Zero(d), d, x + row * kLanes + lane);
}

// One vector of lanes down the tile.
template <bool kFull, bool kCap>
HWY_ATTR void SoftmaxLanes(const TileArgs& t, int64_t lane, float* max, float* sum, float* rescale) {
  const D d;
  const V minus_infinity = hn::Set(d, -kInfinity), cap = hn::Set(d, t.cap);
  const V first = hn::LoadU(d, t.first + lane), last = hn::LoadU(d, t.last + lane);
  const V old_max = hn::LoadU(d, max + lane);
  V new_max = old_max;
  const Rows rows = kFull ? Rows{0, t.rows} : RowsSeen(t, lane);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    float* at = t.s + row * kLanes + lane;
    V s = hn::LoadU(d, at);
    if (kCap) s = hn::Mul(cap, Tanh(d, s));
    if (!kFull) s = hn::IfThenElse(Seen(d, row, first, last), s, minus_infinity);
    if (kCap || !kFull) hn::StoreU(s, d, at);
    new_max = hn::Max(new_max, s);
  }
  // A lane that has seen nothing yet: any finite number will do in place of -infinity, whose difference is NaN.
  const V base = hn::IfThenZeroElse(hn::Eq(new_max, minus_infinity), new_max);
  V total = hn::Zero(d);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    float* at = t.s + row * kLanes + lane;
    const V p = Exp2(d, hn::Sub(hn::LoadU(d, at), base));
    hn::StoreU(p, d, at);
    total = hn::Add(total, p);
  }
  if (!kFull) ZeroOutside(t, rows, lane, t.s);
  const V factor = Exp2(d, hn::Sub(old_max, base));
  hn::StoreU(new_max, d, max + lane);
  hn::StoreU(factor, d, rescale + lane);
  hn::StoreU(hn::MulAdd(hn::LoadU(d, sum + lane), factor, total), d, sum + lane);
}

void SoftmaxTileImpl(const TileArgs& t, float* max, float* sum, float* rescale) {
  for (int64_t lane = 0; lane < t.lanes; lane += kWidth) {
    if (t.cap != 0) {
      SoftmaxLanes<false, true>(t, lane, max, sum, rescale);
    } else if (t.full) {
      SoftmaxLanes<true, false>(t, lane, max, sum, rescale);
    } else {
      SoftmaxLanes<false, false>(t, lane, max, sum, rescale);
    }
  }
}

template <bool kFull, bool kCap>
HWY_ATTR void GradLanes(const TileArgs& t, int64_t lane, const float* lse, const float* delta, float* dp) {
  const D d;
  const V cap = hn::Set(d, t.cap), one = hn::Set(d, 1.0f);
  const V first = hn::LoadU(d, t.first + lane), last = hn::LoadU(d, t.last + lane);
  const Rows rows = kFull ? Rows{0, t.rows} : RowsSeen(t, lane);
  if (!kFull) {
    ZeroOutside(t, rows, lane, t.s);
    ZeroOutside(t, rows, lane, dp);
  }
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    float *s_at = t.s + row * kLanes + lane, *dp_at = dp + row * kLanes + lane;
    const V log_sum = hn::Set(d, lse[row]), mean = hn::Set(d, delta[row]);
    V s = hn::LoadU(d, s_at), slope = one;
    if (kCap) {
      const V y = Tanh(d, s);
      slope = hn::NegMulAdd(y, y, one);
      s = hn::Mul(cap, y);
    }
    V p = Exp2(d, hn::Sub(s, log_sum));
    V ds = hn::Mul(p, hn::Sub(hn::LoadU(d, dp_at), mean));
    if (kCap) ds = hn::Mul(ds, slope);
    if (!kFull) {
      const M seen = Seen(d, row, first, last);
      p = hn::IfThenElseZero(seen, p);
      ds = hn::IfThenElseZero(seen, ds);
    }
    hn::StoreU(p, d, s_at);
    hn::StoreU(ds, d, dp_at);
  }
}

void GradTileImpl(const TileArgs& t, const float* lse, const float* delta, float* dp) {
  for (int64_t lane = 0; lane < t.lanes; lane += kWidth) {
    if (t.cap != 0) {
      GradLanes<false, true>(t, lane, lse, delta, dp);
    } else if (t.full) {
      GradLanes<true, false>(t, lane, lse, delta, dp);
    } else {
      GradLanes<false, false>(t, lane, lse, delta, dp);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet::internal {

HWY_EXPORT(ProductImpl);
HWY_EXPORT(TransposeImpl);
HWY_EXPORT(SoftmaxTileImpl);
HWY_EXPORT(GradTileImpl);

void Product(const ProductArgs& p) { HWY_DYNAMIC_DISPATCH(ProductImpl)(p); }
void Transpose(const float* tile, int64_t width, int64_t d, float factor, float* out) {
  HWY_DYNAMIC_DISPATCH(TransposeImpl)(tile, width, d, factor, out);
}
void SoftmaxTile(const TileArgs& t, float* max, float* sum, float* rescale) {
  HWY_DYNAMIC_DISPATCH(SoftmaxTileImpl)(t, max, sum, rescale);
}
void GradTile(const TileArgs& t, const float* lse, const float* delta, float* dp) {
  HWY_DYNAMIC_DISPATCH(GradTileImpl)(t, lse, delta, dp);
}

}  // namespace lorikeet::internal
#endif  // HWY_ONCE
