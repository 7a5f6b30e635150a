// Compiled with -ffp-contract=off: a fused multiply-add would change last bits.
#include "tensor/io/gguf_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/check.h"

namespace lorikeet {
namespace {

float Half(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return F16BitsToF32(bits);
}

void BlockF32(const uint8_t* __restrict in, float* __restrict y) { std::memcpy(y, in, sizeof(*y)); }
void BlockF16(const uint8_t* __restrict in, float* __restrict y) { *y = Half(in); }

void BlockBF16(const uint8_t* __restrict in, float* __restrict y) {
  uint16_t bits;
  std::memcpy(&bits, in, sizeof(bits));
  *y = BF16BitsToF32(bits);
}

void BlockQ4_0(const uint8_t* __restrict in, float* __restrict y) {
  const float d = Half(in);
  const uint8_t* q = in + 2;
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((q[j] & 15) - 8) * d;
    y[j + 16] = static_cast<float>((q[j] >> 4) - 8) * d;
  }
}

void BlockQ4_1(const uint8_t* __restrict in, float* __restrict y) {
  const float d = Half(in), m = Half(in + 2);
  const uint8_t* q = in + 4;
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(q[j] & 15) * d + m;
    y[j + 16] = static_cast<float>(q[j] >> 4) * d + m;
  }
}

void BlockQ5_0(const uint8_t* __restrict in, float* __restrict y) {
  const float d = Half(in);
  uint32_t high;
  std::memcpy(&high, in + 2, sizeof(high));
  const uint8_t* q = in + 6;
  for (int j = 0; j < 16; ++j) {
    const int lo = (q[j] & 15) | static_cast<int>((high >> j) & 1) << 4;
    const int hi = (q[j] >> 4) | static_cast<int>((high >> (j + 16)) & 1) << 4;
    y[j] = static_cast<float>(lo - 16) * d;
    y[j + 16] = static_cast<float>(hi - 16) * d;
  }
}

void BlockQ5_1(const uint8_t* __restrict in, float* __restrict y) {
  const float d = Half(in), m = Half(in + 2);
  uint32_t high;
  std::memcpy(&high, in + 4, sizeof(high));
  const uint8_t* q = in + 8;
  for (int j = 0; j < 16; ++j) {
    const int lo = (q[j] & 15) | static_cast<int>((high >> j) & 1) << 4;
    const int hi = (q[j] >> 4) | static_cast<int>((high >> (j + 16)) & 1) << 4;
    y[j] = static_cast<float>(lo) * d + m;
    y[j + 16] = static_cast<float>(hi) * d + m;
  }
}

void BlockQ8_0(const uint8_t* __restrict in, float* __restrict y) {
  const float d = Half(in);
  const uint8_t* q = in + 2;
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(static_cast<int8_t>(q[j])) * d;
}

// Scale and minimum of group g of 32, of 8: 6 bits each in 12 bytes, the first four plain, the others split.
struct ScaleMin {
  int scale, min;
};
ScaleMin GroupOf(const uint8_t* s, int g) {
  if (g < 4) return {s[g] & 63, s[g + 4] & 63};
  return {(s[g + 4] & 15) | ((s[g - 4] >> 6) << 4), (s[g + 4] >> 4) | ((s[g] >> 6) << 4)};
}

// Groups 2p and 2p + 1 are the low and high halves of bytes q[32p .. 32p+31].
void BlockQ4_K(const uint8_t* __restrict in, float* __restrict y) {
  const float d = Half(in), dmin = Half(in + 2);
  const uint8_t *s = in + 4, *q = in + 16;
  for (int g = 0; g < 8; ++g) {
    const ScaleMin group = GroupOf(s, g);
    const float scale = d * static_cast<float>(group.scale), min = dmin * static_cast<float>(group.min);
    const int shift = 4 * (g % 2);
    for (int l = 0; l < 32; ++l) {
      y[32 * g + l] = scale * static_cast<float>((q[32 * (g / 2) + l] >> shift) & 15) - min;
    }
  }
}

// As Q4_K; the fifth bit of weight l of group g is bit g of high[l].
void BlockQ5_K(const uint8_t* __restrict in, float* __restrict y) {
  const float d = Half(in), dmin = Half(in + 2);
  const uint8_t *s = in + 4, *high = in + 16, *q = in + 48;
  for (int g = 0; g < 8; ++g) {
    const ScaleMin group = GroupOf(s, g);
    const float scale = d * static_cast<float>(group.scale), min = dmin * static_cast<float>(group.min);
    const int shift = 4 * (g % 2);
    for (int l = 0; l < 32; ++l) {
      const int n = ((q[32 * (g / 2) + l] >> shift) & 15) | ((high[l] >> g) & 1) << 4;
      y[32 * g + l] = scale * static_cast<float>(n) - min;
    }
  }
}

// Two halves of four quarters of 32. Quarters k and k + 2 share bytes of ql (low halves, high halves), all four share
// 32 bytes of qh (two bits each); every 16 weights have a scale.
void BlockQ6_K(const uint8_t* __restrict in, float* __restrict y) {
  const uint8_t *ql = in, *qh = in + 128, *sc = in + 192;
  const float d = Half(in + 208);
  for (int part = 0; part < 16; ++part) {  // 16 weights under one scale
    const int half = part / 8, k = part % 8 / 2, first = 16 * (part % 2);
    const float scale = d * static_cast<float>(static_cast<int8_t>(sc[part]));
    const uint8_t *low = ql + 64 * half + 32 * (k % 2) + first, *high = qh + 32 * half + first;
    const int low_shift = 4 * (k / 2), high_shift = 2 * k;
    for (int l = 0; l < 16; ++l) {
      const int n = ((low[l] >> low_shift) & 15) | ((high[l] >> high_shift) & 3) << 4;
      y[16 * part + l] = scale * static_cast<float>(n - 32);
    }
  }
}

void PutHalf(float x, uint8_t* p) {
  const uint16_t bits = F32ToF16Bits(x);
  std::memcpy(p, &bits, sizeof(bits));
}

// 1 / d, or 0 where there is none: d is 0, or so small that it becomes 0 as a half anyway.
float Reciprocal(float d) {
  const float r = 1 / d;
  return d == 0 || !std::isfinite(r) ? 0 : r;
}

void EncodeF32(const float* __restrict x, uint8_t* __restrict out) { std::memcpy(out, x, sizeof(*x)); }
void EncodeF16(const float* __restrict x, uint8_t* __restrict out) { PutHalf(*x, out); }

void EncodeBF16(const float* __restrict x, uint8_t* __restrict out) {
  const uint16_t bits = F32ToBF16Bits(*x);
  std::memcpy(out, &bits, sizeof(bits));
}

void EncodeQ8_0(const float* __restrict x, uint8_t* __restrict out) {
  float most = 0;
  for (int j = 0; j < 32; ++j) most = std::max(most, std::abs(x[j]));
  const float d = most / 127, inverse = Reciprocal(d);
  PutHalf(d, out);
  for (int j = 0; j < 32; ++j) {
    const float v = x[j] * inverse, a = std::abs(v), whole = std::floor(a);
    const float rounded = whole + std::floor(2 * (a - whole));  // halves away from zero, in a form that vectorizes
    out[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(std::copysign(rounded, v)));
  }
}

// The codes of a block of 4 bits: trunc(scaled value + half), at most 15.
template <typename Scaled>
void PackNibbles(float half, Scaled scaled, uint8_t* __restrict q) {
  for (int j = 0; j < 16; ++j) {
    const int low = std::min(15, static_cast<int>(scaled(j) + half));
    const int high = std::min(15, static_cast<int>(scaled(j + 16) + half));
    q[j] = static_cast<uint8_t>(low | high << 4);
  }
}

void EncodeQ4_0(const float* __restrict x, uint8_t* __restrict out) {
  float most = 0, max = 0;
  for (int j = 0; j < 32; ++j) {
    if (std::abs(x[j]) > most) most = std::abs(x[j]), max = x[j];
  }
  const float d = max / -8, inverse = Reciprocal(d);
  PutHalf(d, out);
  PackNibbles(
      8.5f, [&](int j) { return x[j] * inverse; }, out + 2);
}

void EncodeQ4_1(const float* __restrict x, uint8_t* __restrict out) {
  const auto [min, max] = std::minmax_element(x, x + 32);
  const float m = *min, d = (*max - m) / 15, inverse = Reciprocal(d);
  PutHalf(d, out);
  PutHalf(m, out + 2);
  PackNibbles(
      0.5f, [&](int j) { return (x[j] - m) * inverse; }, out + 4);
}

template <void (*kBlock)(const float*, uint8_t*), int kWeights, int kBytes>
void RunEncode(const float* in, int64_t blocks, uint8_t* out) {
  for (int64_t i = 0; i < blocks; ++i) kBlock(in + i * kWeights, out + i * kBytes);
}

template <void (*kBlock)(const uint8_t*, float*), int kWeights, int kBytes>
void Run(const uint8_t* in, int64_t blocks, float* out) {
  for (int64_t i = 0; i < blocks; ++i) kBlock(in + i * kBytes, out + i * kWeights);
}

constexpr GgufFormat kFormats[] = {
    {0, "F32", 1, 4, Run<BlockF32, 1, 4>, RunEncode<EncodeF32, 1, 4>},
    {1, "F16", 1, 2, Run<BlockF16, 1, 2>, RunEncode<EncodeF16, 1, 2>},
    {2, "Q4_0", 32, 18, Run<BlockQ4_0, 32, 18>, RunEncode<EncodeQ4_0, 32, 18>},
    {3, "Q4_1", 32, 20, Run<BlockQ4_1, 32, 20>, RunEncode<EncodeQ4_1, 32, 20>},
    {6, "Q5_0", 32, 22, Run<BlockQ5_0, 32, 22>},
    {7, "Q5_1", 32, 24, Run<BlockQ5_1, 32, 24>},
    {8, "Q8_0", 32, 34, Run<BlockQ8_0, 32, 34>, RunEncode<EncodeQ8_0, 32, 34>},
    {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144, Run<BlockQ4_K, 256, 144>},
    {13, "Q5_K", 256, 176, Run<BlockQ5_K, 256, 176>},
    {14, "Q6_K", 256, 210, Run<BlockQ6_K, 256, 210>},
    {15, "Q8_K", 256, 292},
    {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98},
    {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},
    {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136},
    {24, "I8", 1, 1},
    {25, "I16", 1, 2},
    {26, "I32", 1, 4},
    {27, "I64", 1, 8},
    {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2, Run<BlockBF16, 1, 2>, RunEncode<EncodeBF16, 1, 2>},
    {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},
    {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},
};

}  // namespace

const GgufFormat* FindGgufFormat(uint32_t id) {
  for (const GgufFormat& format : kFormats) {
    if (format.id == id) return &format;
  }
  return nullptr;
}

const GgufFormat* FindGgufFormat(absl::string_view name) {
  for (const GgufFormat& format : kFormats) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

void DecodeGgufBlocks(const GgufFormat& format, const uint8_t* in, int64_t blocks, float* out) {
  LORIKEET_CHECK(format.decode != nullptr) << "DecodeGgufBlocks: " << format.name;
  format.decode(in, blocks, out);
}

void DecodeGgufBlocks(const GgufFormat& format, const uint8_t* in, int64_t blocks, bf16* out) {
  constexpr int64_t kWeights = 2048;  // f32 on the way, in cache
  float values[kWeights];
  const int64_t step = kWeights / format.block;
  for (int64_t i = 0; i < blocks; i += step) {
    const int64_t n = std::min(step, blocks - i), weights = n * format.block;
    DecodeGgufBlocks(format, in + i * format.bytes, n, values);
    for (int64_t j = 0; j < weights; ++j) out[i * format.block + j] = bf16(values[j]);
  }
}

void EncodeGgufBlocks(const GgufFormat& format, const float* in, int64_t blocks, uint8_t* out) {
  LORIKEET_CHECK(format.encode != nullptr) << "EncodeGgufBlocks: " << format.name;
  format.encode(in, blocks, out);
}

}  // namespace lorikeet
