// f32 strips and dot products, one body for every instruction set.
#include <cstdint>

#include "tensor/kernels/matmul_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/matmul_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// AVX-512 has 32 registers: 6x4 sums. The others have 16: 6x2.
constexpr int kMaxVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
constexpr int64_t kPrefetchLines = 8;  // at a time, and steps between

template <int I>
struct Index {
  static constexpr int value = I;
};
template <int... I>
struct Indices {};
template <int N, int... I>
struct Range : Range<N - 1, N - 1, I...> {};
template <int... I>
struct Range<0, I...> {
  using type = Indices<I...>;
};
// f(Index<0>), f(Index<1>), ...: sums stay in registers only if every subscript is a constant.
template <typename F, int... I>
HWY_INLINE HWY_ATTR void UnrollImpl(const F& f, Indices<I...>) {
  (f(Index<I>{}), ...);
}
template <int N, typename F>
HWY_INLINE HWY_ATTR void Unroll(const F& f) {
  UnrollImpl(f, typename Range<N>::type{});
}

HWY_INLINE HWY_ATTR void Finish(const Strip& s, V sum, int64_t row, int64_t column) {
  const D d;
  float* y = static_cast<float*>(s.y) + row * s.y_row + column;
  const int64_t left = s.columns - column;
  if (left <= 0) return;
  V v = hn::Mul(sum, hn::Set(d, s.alpha));
  const V beta = hn::Set(d, s.beta);
  if (left >= kLanes) {
    if (s.gain != nullptr) v = hn::Mul(v, hn::LoadU(d, s.gain + column));
    if (s.beta != 0) v = hn::MulAdd(beta, hn::LoadU(d, y), v);
    hn::StoreU(v, d, y);
    return;
  }
  HWY_ALIGN float old[kLanes] = {}, gain[kLanes] = {}, out[kLanes];
  for (int64_t j = 0; j < left && s.gain != nullptr; ++j) gain[j] = s.gain[column + j];
  for (int64_t j = 0; j < left && s.beta != 0; ++j) old[j] = y[j];
  if (s.gain != nullptr) v = hn::Mul(v, hn::Load(d, gain));
  if (s.beta != 0) v = hn::MulAdd(beta, hn::Load(d, old), v);
  hn::Store(v, d, out);
  for (int64_t j = 0; j < left; ++j) y[j] = out[j];
}

// Kr rows by Kv vectors of columns, in Kr*Kv registers.
template <int Kr, int Kv>
HWY_ATTR void Tile(const Strip& s, int64_t row, int64_t column, int64_t lines, Prefetch* next) {
  const D d;
  V sum[Kr][Kv];
  const float* start = static_cast<const float*>(s.start) + row * s.width + column;
  Unroll<Kr>([&](auto r) HWY_ATTR {
    Unroll<Kv>([&](auto v) HWY_ATTR {
      constexpr int i = decltype(r)::value, j = decltype(v)::value;
      sum[i][j] = s.start == nullptr ? hn::Zero(d) : hn::Load(d, start + i * s.width + j * kLanes);
    });
  });
  // Runs of one loop: a's steps, few at a time where lines are to be prefetched, then u's. One loop in place, because
  // sums in a function's argument would leave the registers.
  const char* a = s.a + row * s.a_row;
  int64_t a_row = s.a_row, a_step = s.a_step, left = s.steps, u_left = s.u_steps;
  const int64_t panel_step = s.panel_step == 0 ? s.width : s.panel_step;
  const float* panel = static_cast<const float*>(s.panel) + column;
  for (;;) {
    int64_t steps = left;
    if (lines > 0) {
      steps = lines < kPrefetchLines ? lines : kPrefetchLines;
      lines -= steps;
      for (int64_t i = 0; i < steps; ++i) next->Fetch();
    } else if (left == 0) {
      if (u_left == 0) break;
      a = s.u + row * s.u_row;
      a_row = s.u_row;
      a_step = s.u_step;
      steps = left = u_left;
      u_left = 0;
    }
    left -= steps;
    for (; steps > 0; --steps, a += a_step, panel += panel_step) {
      V b[Kv];
      Unroll<Kv>([&](auto v) HWY_ATTR { b[decltype(v)::value] = hn::LoadU(d, panel + kLanes * decltype(v)::value); });
      Unroll<Kr>([&](auto r) HWY_ATTR {
        constexpr int i = decltype(r)::value;
        const V x = hn::Set(d, *reinterpret_cast<const float*>(a + i * a_row));
        Unroll<Kv>([&](auto v) HWY_ATTR {
          constexpr int j = decltype(v)::value;
          sum[i][j] = hn::MulAdd(x, b[j], sum[i][j]);
        });
      });
    }
  }
  float* stop = static_cast<float*>(s.stop) + row * s.width + column;
  Unroll<Kr>([&](auto r) HWY_ATTR {
    Unroll<Kv>([&](auto v) HWY_ATTR {
      constexpr int i = decltype(r)::value, j = decltype(v)::value;
      if (s.stop != nullptr) {
        hn::Store(sum[i][j], d, stop + i * s.width + j * kLanes);
      } else {
        Finish(s, sum[i][j], row + i, column + j * kLanes);
      }
    });
  });
}

template <int Kv>
HWY_ATTR void Columns(const Strip& s, int64_t column, Prefetch next) {
  int64_t lines = next.lines();
  for (int64_t row = 0; row < s.rows;) {
    const int64_t rows = TileRows(s.rows - row, 6), now = lines < s.steps ? lines : s.steps;
    switch (rows) {
      case 1:
        Tile<1, Kv>(s, row, column, now, &next);
        break;
      case 2:
        Tile<2, Kv>(s, row, column, now, &next);
        break;
      case 3:
        Tile<3, Kv>(s, row, column, now, &next);
        break;
      case 4:
        Tile<4, Kv>(s, row, column, now, &next);
        break;
      case 5:
        Tile<5, Kv>(s, row, column, now, &next);
        break;
      default:
        Tile<6, Kv>(s, row, column, now, &next);
    }
    lines -= now;
    row += rows;
  }
}

void RunStrip(const Strip& s) {
  Prefetch next = s.next;  // by the first columns
  for (int64_t column = 0; column < s.width; next = {}) {
    const int64_t vectors = (s.width - column) / kLanes;
    if constexpr (kMaxVectors == 4) {
      if (vectors == 3) return Columns<3>(s, column, next);
      if (vectors == 1) return Columns<1>(s, column, next);
    }
    if (kMaxVectors == 4 && vectors >= 4) {
      Columns<kMaxVectors>(s, column, next);
      column += kMaxVectors * kLanes;
    } else {
      Columns<2>(s, column, next);
      column += 2 * kLanes;
    }
  }
}

HWY_INLINE HWY_ATTR V Widen(const float* p) { return hn::LoadU(D(), p); }
HWY_INLINE HWY_ATTR V Widen(const uint16_t* p) {
  const hn::Rebind<uint32_t, D> d32;
  const hn::Rebind<uint16_t, D> d16;
  return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, p))));
}
HWY_INLINE float WidenOne(float x) { return x; }
HWY_INLINE float WidenOne(uint16_t x) { return hwy::F32FromBF16(hwy::bfloat16_t{x}); }

template <typename W>
HWY_INLINE HWY_ATTR float Dot(const float* x, const W* w, int64_t k) {
  const D d;
  V sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= k; i += 4 * kLanes) {
    Unroll<4>([&](auto v) HWY_ATTR {
      constexpr int j = decltype(v)::value;
      sum[j] = hn::MulAdd(hn::LoadU(d, x + i + j * kLanes), Widen(w + i + j * kLanes), sum[j]);
    });
  }
  for (; i + kLanes <= k; i += kLanes) sum[0] = hn::MulAdd(hn::LoadU(d, x + i), Widen(w + i), sum[0]);
  float total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]))));
  for (; i < k; ++i) total += x[i] * WidenOne(w[i]);
  return total;
}

template <typename W>
HWY_ATTR void RunDotRows(const DotRows& d) {
  const float* x = static_cast<const float*>(d.x);
  const W* w = static_cast<const W*>(d.w);
  for (int64_t i = 0; i < d.rows; ++i) {
    for (int64_t m = 0; m < d.m_count; ++m) {
      d.y[m * d.y_stride + i] = Dot(x + m * d.x_stride, w + i * d.w_stride, d.k);
    }
  }
}
bool IsAvx512() { return HWY_TARGET <= HWY_AVX3; }
void RunDotRowsF32(const DotRows& d) { RunDotRows<float>(d); }
void RunDotRowsF32BF16(const DotRows& d) { RunDotRows<uint16_t>(d); }

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet::internal {

HWY_EXPORT(IsAvx512);
HWY_EXPORT(RunStrip);
HWY_EXPORT(RunDotRowsF32);
HWY_EXPORT(RunDotRowsF32BF16);

void StripF32(const Strip& s) { HWY_DYNAMIC_DISPATCH(RunStrip)(s); }
void DotRowsF32(const DotRows& d) { HWY_DYNAMIC_DISPATCH(RunDotRowsF32)(d); }
void DotRowsF32BF16(const DotRows& d) { HWY_DYNAMIC_DISPATCH(RunDotRowsF32BF16)(d); }

// Asks the target that was chosen: SupportedTargets() would execute cpuid, which traps in a virtual machine.
bool HaveBF16Dot() { return HWY_DYNAMIC_DISPATCH(IsAvx512)() && __builtin_cpu_supports("avx512bf16"); }

}  // namespace lorikeet::internal
#endif  // HWY_ONCE
