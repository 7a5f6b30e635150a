#include "quant/blockwise8.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "quant/code_maps.h"
#include "tensor/check.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

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

  uint8_t operator()(float t) const {  // |t| <= 1
    const uint32_t bits = std::bit_cast<uint32_t>(t), magnitude = (bits & 0x7fffffffu) >> 16;
    const uint32_t key = magnitude < kLeast ? 0 : magnitude - kLeast;
    const uint8_t code = first_[bits >> 31][key];
    return static_cast<uint8_t>(code + (t > threshold_[code]));
  }

 private:
  static constexpr uint32_t kLeast = (127 - 24) << 7;             // 2^-24 lies below every non-zero threshold
  static constexpr uint32_t kKeys = ((127u << 7) - kLeast) + 1u;  // up to 1.0

  void Fill(int negative, uint32_t key, float low, float high) {
    const auto below = [&](float t) { return std::lower_bound(threshold_.begin(), threshold_.end(), t); };
    first_[negative][key] = static_cast<uint8_t>(below(low) - threshold_.begin());
    LORIKEET_CHECK_LE(below(high) - below(low), 1) << "8-bit map: two thresholds in one bucket";
  }

  std::array<float, 256> threshold_;
  uint8_t first_[2][kKeys];  // the code of the bucket's lowest number
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

void EncodeBlock(const float* x, int64_t n, const NearestEntry& nearest, uint8_t* codes, float* scale) {
  const float a = AbsMax(x, n);
  *scale = a;
  if (!(a > 0)) {
    std::fill(codes, codes + n, uint8_t{0});
    return;
  }
  for (int64_t i = 0; i < n; ++i) codes[i] = nearest(x[i] / a);
}

int64_t BlocksPerChunk(int block) { return std::max<int64_t>(1, kGrain / block); }

}  // namespace

void EncodeBlocks8(absl::Span<const float> x, int block, Map8 map, absl::Span<uint8_t> codes,
                   absl::Span<float> scales) {
  const int64_t n = static_cast<int64_t>(x.size()), blocks = NumBlocks(n, block);
  LORIKEET_CHECK_EQ(codes.size(), x.size()) << "EncodeBlocks8: codes";
  LORIKEET_CHECK_EQ(static_cast<int64_t>(scales.size()), blocks) << "EncodeBlocks8: scales";
  const NearestEntry& nearest = Nearest(map);
  ParallelFor(blocks, BlocksPerChunk(block), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * block;
      EncodeBlock(&x[first], std::min<int64_t>(block, n - first), nearest, &codes[first], &scales[b]);
    }
  });
}

void DecodeBlocks8(absl::Span<const uint8_t> codes, absl::Span<const float> scales, int block,
                   absl::Span<const float> map, absl::Span<float> x) {
  const int64_t n = static_cast<int64_t>(codes.size()), blocks = NumBlocks(n, block);
  LORIKEET_CHECK_EQ(x.size(), codes.size()) << "DecodeBlocks8: x";
  LORIKEET_CHECK_EQ(static_cast<int64_t>(scales.size()), blocks) << "DecodeBlocks8: scales";
  LORIKEET_CHECK_EQ(map.size(), 256u) << "DecodeBlocks8: map";
  const float* value = map.data();
  ParallelFor(blocks, BlocksPerChunk(block), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * block, last = std::min<int64_t>(first + block, n);
      for (int64_t i = first; i < last; ++i) x[i] = value[codes[i]] * scales[b];
    }
  });
}

}  // namespace lorikeet
