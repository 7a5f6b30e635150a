#include "tensor/kernels/matmul_pack.h"

#include <cstdint>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/matmul_pack.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D32 = hn::CappedTag<uint32_t, 16>;
using D16 = hn::Rebind<uint16_t, D32>;
using V32 = hn::Vec<D32>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D32()));

// Four cells of each of the rows j, j+4, j+8, ... of src, one row per 128-bit block.
template <class D>
HWY_INLINE HWY_ATTR hn::Vec<D> LoadBlocks(D d, const char* src, int64_t stride) {
  if constexpr (hn::MaxLanes(D()) <= 4) {
    return hn::BitCast(d, hn::LoadU(hn::Repartition<uint8_t, D>(), reinterpret_cast<const uint8_t*>(src)));
  } else {
    const hn::Half<D> half;
    const int64_t rows = static_cast<int64_t>(hn::MaxLanes(half));
    return hn::Combine(d, LoadBlocks(half, src + rows * stride, stride), LoadBlocks(half, src, stride));
  }
}

// 4 steps of kLanes columns: a 4x4 transposition inside each 128-bit block.
HWY_INLINE HWY_ATTR void TransposeTile(const char* src, int64_t stride, uint32_t* dst, int64_t width) {
  const D32 d;
  const hn::Repartition<uint64_t, D32> d64;
  const V32 r0 = LoadBlocks(d, src, stride), r1 = LoadBlocks(d, src + stride, stride);
  const V32 r2 = LoadBlocks(d, src + 2 * stride, stride), r3 = LoadBlocks(d, src + 3 * stride, stride);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, dst);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, dst + width);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, dst + 2 * width);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, dst + 3 * width);
}

void Transposed(const void* from, int64_t stride, int64_t steps, int64_t n, uint32_t* dst, int64_t width) {
  const char* src = static_cast<const char*>(from);
  const int64_t whole_columns = n - n % kLanes, whole_steps = steps - steps % 4;
  // 16 steps at a time: whole cache lines of the source are used while they are there.
  for (int64_t s0 = 0; s0 < whole_steps; s0 += 16) {
    const int64_t s1 = s0 + 16 < whole_steps ? s0 + 16 : whole_steps;
    for (int64_t j = 0; j < whole_columns; j += kLanes) {
      for (int64_t s = s0; s < s1; s += 4) {
        TransposeTile(src + j * stride + s * 4, stride, dst + s * width + j, width);
      }
    }
  }
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t j = s < whole_steps ? whole_columns : 0; j < n; ++j) {
      std::memcpy(dst + s * width + j, src + j * stride + s * 4, 4);
    }
    for (int64_t j = n; j < width; ++j) dst[s * width + j] = 0;
  }
}

void Pairs(const uint16_t* src, int64_t stride, int64_t k, int64_t n, uint32_t* dst, int64_t width) {
  const D32 d;
  const D16 d16;
  for (int64_t s = 0; 2 * s < k; ++s, dst += width) {
    const uint16_t* even = src + 2 * s * stride;
    const uint16_t* odd = 2 * s + 1 < k ? even + stride : nullptr;
    int64_t j = 0;
    for (; odd != nullptr && j + kLanes <= n; j += kLanes) {
      const V32 low = hn::PromoteTo(d, hn::LoadU(d16, even + j));
      const V32 high = hn::ShiftLeft<16>(hn::PromoteTo(d, hn::LoadU(d16, odd + j)));
      hn::StoreU(hn::Or(low, high), d, dst + j);
    }
    for (; j < n; ++j) dst[j] = even[j] | (odd == nullptr ? 0u : static_cast<uint32_t>(odd[j]) << 16);
    for (; j < width; ++j) dst[j] = 0;
  }
}

void Rows(const float* src, int64_t stride, int64_t k, int64_t n, float* dst, int64_t width) {
  const hn::CappedTag<float, 16> d;
  for (int64_t s = 0; s < k; ++s, src += stride, dst += width) {
    int64_t j = 0;
    for (; j + kLanes <= n; j += kLanes) hn::StoreU(hn::LoadU(d, src + j), d, dst + j);
    for (; j < n; ++j) dst[j] = src[j];
    for (; j < width; ++j) dst[j] = 0;
  }
}

void Widen(const uint16_t* src, int64_t n, float* dst) {
  const D32 d;
  const D16 d16;
  const hn::CappedTag<float, 16> df;
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    hn::StoreU(hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(d, hn::LoadU(d16, src + j)))), df, dst + j);
  }
  for (; j < n; ++j) dst[j] = hwy::F32FromBF16(hwy::bfloat16_t{src[j]});
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet::internal {

HWY_EXPORT(Transposed);
HWY_EXPORT(Pairs);
HWY_EXPORT(Rows);
HWY_EXPORT(Widen);

void PackTransposed(const void* src, int64_t stride_bytes, int64_t steps, int64_t n, uint32_t* dst, int64_t width) {
  HWY_DYNAMIC_DISPATCH(Transposed)(src, stride_bytes, steps, n, dst, width);
}
void PackPairs(const uint16_t* src, int64_t stride, int64_t k, int64_t n, uint32_t* dst, int64_t width) {
  HWY_DYNAMIC_DISPATCH(Pairs)(src, stride, k, n, dst, width);
}
void PackRows(const float* src, int64_t stride, int64_t k, int64_t n, float* dst, int64_t width) {
  HWY_DYNAMIC_DISPATCH(Rows)(src, stride, k, n, dst, width);
}
void WidenBF16(const uint16_t* src, int64_t n, float* dst) { HWY_DYNAMIC_DISPATCH(Widen)(src, n, dst); }

}  // namespace lorikeet::internal
#endif  // HWY_ONCE
