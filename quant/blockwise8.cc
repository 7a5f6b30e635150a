#include "quant/blockwise8.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "hwy/highway.h"
#include "quant/code_maps.h"
#include "tensor/check.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Ints = hn::Rebind<int32_t, Floats>;
using Bytes = hn::Rebind<uint8_t, Floats>;

constexpr int64_t kGrain = 1 << 15;  // elements a chunk, about

// Finds the nearest map entry without a search. Numbers that share sign, exponent and 7 bits of mantissa form a
// bucket; the maps are coarse enough for a bucket to hold one threshold at most, so a table lookup and one comparison
// decide.
class NearestEntry {
 public:
  explicit NearestEntry(const std::array<float, 256>& map) {
    for (int c = 0; c < 255; ++c) threshold_[c] = (map[c] + map[c + 1]) * 0.5f;
    threshold_[255] = std::numeric_limits<float>::infinity();
    for (uint32_t key = 0; key < kKeys; ++key) {
      const float near = key == 0 ? 0 : std::bit_cast<float>((key + kLeast) << 16);  // the end nearer to zero
      const float far = std::bit_cast<float>(((key + kLeast) << 16) | 0xffffu);
      Fill(0, key, near, far);
      Fill(1, key, -far, -near);
    }
  }

  // codes[i] = the entry nearest to x[i] / scale, |x[i]| <= scale.
  void Encode(const float* x, int64_t n, float scale, uint8_t* codes) const {
    const Floats d;
    const auto divisor = hn::Set(d, scale);
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      hn::StoreU(hn::DemoteTo(Bytes(), Codes(hn::Div(hn::LoadU(d, x + i), divisor))), Bytes(), codes + i);
    }
    for (; i < n; ++i) codes[i] = Code(x[i] / scale);
  }

 private:
  static constexpr uint32_t kLeast = (127 - 24) << 7;             // 2^-24 lies below every non-zero threshold
  static constexpr uint32_t kKeys = ((127u << 7) - kLeast) + 1u;  // up to 1.0

  uint8_t Code(float t) const {
    const uint32_t bits = std::bit_cast<uint32_t>(t), magnitude = (bits & 0x7fffffffu) >> 16;
    const uint32_t key = magnitude < kLeast ? 0 : magnitude - kLeast;
    const uint8_t code = first_[(bits >> 31) * kKeys + key];
    return static_cast<uint8_t>(code + (t > threshold_[code]));
  }

  // Code, for a vector of numbers.
  template <typename V>
  hn::Vec<Ints> Codes(V t) const {
    const Floats d;
    const Ints di;
    const auto bits = hn::BitCast(di, t);
    const auto magnitude = hn::ShiftRight<16>(hn::And(bits, hn::Set(di, 0x7fffffff)));
    const auto least = hn::Set(di, static_cast<int32_t>(kLeast));
    const auto key = hn::Sub(hn::Max(magnitude, least), least);
    const auto row =
        hn::And(hn::ShiftRight<31>(bits), hn::Set(di, static_cast<int32_t>(kKeys)));  // negative: the second
    const auto words = hn::GatherOffset(di, reinterpret_cast<const int32_t*>(first_), hn::Add(key, row));
    const auto code = hn::And(words, hn::Set(di, 0xff));  // of four bytes, the first
    const auto above = hn::Gt(t, hn::GatherIndex(d, threshold_.data(), code));
    return hn::Sub(code, hn::BitCast(di, hn::VecFromMask(d, above)));
  }

  void Fill(int negative, uint32_t key, float low, float high) {
    const auto below = [&](float t) { return std::lower_bound(threshold_.begin(), threshold_.end(), t); };
    first_[static_cast<uint32_t>(negative) * kKeys + key] = static_cast<uint8_t>(below(low) - threshold_.begin());
    LORIKEET_CHECK_LE(below(high) - below(low), 1) << "8-bit map: two thresholds in one bucket";
  }

  std::array<float, 256> threshold_;
  // The code of the bucket's lowest number, negative buckets second; gathering reads four bytes at once.
  alignas(4) uint8_t first_[2 * kKeys + 3] = {};
};

const NearestEntry& Nearest(Map8 map) {
  static const NearestEntry with_sign(SignedDynamicMap()), without_sign(UnsignedDynamicMap());
  return map == Map8::kSigned ? with_sign : without_sign;
}

// The bits of |x| order like |x|, with infinity and NaN above every number.
float AbsMax(const float* x, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  return std::bit_cast<float>(most >= 0x7f800000u ? 0x7fc00000u : most);
}

int64_t BlocksPerChunk(int block) { return std::max<int64_t>(1, kGrain / block); }

}  // namespace

void EncodeBlock8(const float* x, int64_t n, Map8 map, uint8_t* codes, float* scale) {
  const float a = AbsMax(x, n);
  *scale = a;
  if (a > 0) return Nearest(map).Encode(x, n, a, codes);
  std::fill(codes, codes + n, uint8_t{0});
}

void DecodeBlock8(const uint8_t* codes, int64_t n, float scale, const float* map, float* x) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto index = hn::PromoteTo(Ints(), hn::LoadU(Bytes(), codes + i));
    hn::StoreU(hn::Mul(hn::GatherIndex(d, map, index), hn::Set(d, scale)), d, x + i);
  }
  for (; i < n; ++i) x[i] = map[codes[i]] * scale;
}

void EncodeBlocks8(absl::Span<const float> x, int block, Map8 map, absl::Span<uint8_t> codes,
                   absl::Span<float> scales) {
  const int64_t n = static_cast<int64_t>(x.size()), blocks = NumBlocks(n, block);
  LORIKEET_CHECK_EQ(codes.size(), x.size()) << "EncodeBlocks8: codes";
  LORIKEET_CHECK_EQ(static_cast<int64_t>(scales.size()), blocks) << "EncodeBlocks8: scales";
  ParallelFor(blocks, BlocksPerChunk(block), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * block;
      EncodeBlock8(&x[first], std::min<int64_t>(block, n - first), map, &codes[first], &scales[b]);
    }
  });
}

void DecodeBlocks8(absl::Span<const uint8_t> codes, absl::Span<const float> scales, int block,
                   absl::Span<const float> map, absl::Span<float> x) {
  const int64_t n = static_cast<int64_t>(codes.size()), blocks = NumBlocks(n, block);
  LORIKEET_CHECK_EQ(x.size(), codes.size()) << "DecodeBlocks8: x";
  LORIKEET_CHECK_EQ(static_cast<int64_t>(scales.size()), blocks) << "DecodeBlocks8: scales";
  LORIKEET_CHECK_EQ(map.size(), 256u) << "DecodeBlocks8: map";
  ParallelFor(blocks, BlocksPerChunk(block), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * block;
      DecodeBlock8(&codes[first], std::min<int64_t>(block, n - first), scales[b], map.data(), &x[first]);
    }
  });
}

}  // namespace lorikeet
