#include "tensor/kernels/vec_random.h"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/vec_random.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/highway.h"
#include "tensor/kernels/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

using D64 = hn::CappedTag<uint64_t, kPhiloxBlocks>;
using V64 = hn::Vec<D64>;
using D32 = hn::Repartition<uint32_t, D64>;
constexpr int64_t kBlocks = static_cast<int64_t>(hn::MaxLanes(D64()));  // counters of a vector

// The product of the lower halves. What lies in the upper ones does not matter.
HWY_INLINE V64 Times(V64 a, V64 m) {
  const D32 d;
  return hn::MulEven(hn::BitCast(d, a), hn::BitCast(d, m));
}

// A counter's four words lie in the lower halves of four 64-bit lanes, so that a product needs no shuffle.
struct State {
  V64 c0, c1, c2, c3;
};
HWY_INLINE State Start(RngKey key, uint64_t counter) {
  const D64 d;
  const V64 c = hn::Add(hn::Iota(d, 0), hn::Set(d, counter)), stream = hn::Set(d, key.stream);
  return {c, hn::ShiftRight<32>(c), stream, hn::ShiftRight<32>(stream)};
}
HWY_INLINE State Round(const State& s, V64 k0, V64 k1) {
  const D64 d;
  const V64 p0 = Times(s.c0, hn::Set(d, 0xD2511F53u)), p1 = Times(s.c2, hn::Set(d, 0xCD9E8D57u));
  return {hn::Xor3(hn::ShiftRight<32>(p1), s.c1, k0), p1, hn::Xor3(hn::ShiftRight<32>(p0), s.c3, k1), p0};
}
HWY_INLINE void StoreWords(const State& s, uint32_t* words) {
  const D64 d;
  const D32 d32;
  const auto pair = [d32](V64 low, V64 high) HWY_ATTR {
    return hn::OddEven(hn::BitCast(d32, hn::ShiftLeft<32>(high)), hn::BitCast(d32, low));
  };
  alignas(64) uint64_t pairs[2 * kBlocks];
  hn::StoreInterleaved2(hn::BitCast(d, pair(s.c0, s.c1)), hn::BitCast(d, pair(s.c2, s.c3)), d, pairs);
  std::memcpy(words, pairs, sizeof pairs);
}

// Two vectors of counters at a time: a round waits for its products.
void Philox(RngKey key, uint64_t counter, int64_t blocks, uint32_t* words) {
  const D64 d;
  for (int64_t b = 0; b < blocks; b += 2 * kBlocks) {
    State s = Start(key, counter + static_cast<uint64_t>(b));
    State t = Start(key, counter + static_cast<uint64_t>(b + kBlocks));
    uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const V64 v0 = hn::Set(d, k0), v1 = hn::Set(d, k1);
      s = Round(s, v0, v1);
      t = Round(t, v0, v1);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    StoreWords(s, words + 4 * b);
    StoreWords(t, words + 4 * (b + kBlocks));
  }
}

template <typename T>
HWY_INLINE void DropoutPair(const T* x, const uint32_t* words, int32_t threshold, V scale, T* y) {
  const D d;
  const hn::Rebind<int32_t, D> di;
  const hn::RebindToUnsigned<D> du;
  V kept[2];
  for (int64_t k = 0; k < 2; ++k) {
    const auto u = hn::BitCast(di, hn::ShiftRight<8>(hn::LoadU(du, words + k * kWidth)));
    const auto keep = hn::RebindMask(d, hn::Gt(u, hn::Set(di, threshold - 1)));
    kept[k] = hn::IfThenElseZero(keep, hn::Mul(LoadVec(d, x + k * kWidth), scale));
  }
  StorePair(d, kept[0], kept[1], y);
}
template <typename T>
HWY_INLINE void DropoutRun(const T* x, const uint32_t* words, int32_t threshold, float scale, T* y, int64_t n) {
  const D d;
  const V s = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + 2 * kWidth <= n; i += 2 * kWidth) DropoutPair(x + i, words + i, threshold, s, y + i);
  if (i == n) return;
  HWY_ALIGN T tail[2 * kWidth] = {};
  HWY_ALIGN uint32_t last[2 * kWidth] = {};
  const size_t bytes = static_cast<size_t>(n - i) * sizeof(T);
  std::memcpy(tail, x + i, bytes);
  std::memcpy(last, words + i, static_cast<size_t>(n - i) * sizeof(uint32_t));
  DropoutPair(tail, last, threshold, s, tail);
  std::memcpy(y + i, tail, bytes);
}
void DropoutF32(const float* x, const uint32_t* words, int32_t threshold, float scale, float* y, int64_t n) {
  DropoutRun(x, words, threshold, scale, y, n);
}
void DropoutBF16(const bf16* x, const uint32_t* words, int32_t threshold, float scale, bf16* y, int64_t n) {
  DropoutRun(x, words, threshold, scale, y, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet::internal {

HWY_EXPORT(Philox);
HWY_EXPORT(DropoutF32);
HWY_EXPORT(DropoutBF16);

void VecPhilox(RngKey key, uint64_t counter, int64_t blocks, uint32_t* words) {
  HWY_DYNAMIC_DISPATCH(Philox)(key, counter, blocks, words);
}
void VecDropout(const float* x, const uint32_t* words, int32_t threshold, float scale, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(DropoutF32)(x, words, threshold, scale, y, n);
}
void VecDropout(const bf16* x, const uint32_t* words, int32_t threshold, float scale, bf16* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(DropoutBF16)(x, words, threshold, scale, y, n);
}

}  // namespace lorikeet::internal
#endif  // HWY_ONCE
