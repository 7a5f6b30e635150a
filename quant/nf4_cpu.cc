#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "quant/blockwise8.h"
#include "quant/code_maps.h"
#include "quant/nf4_decode.h"
#include "quant/nf4_kernels.h"
#include "tensor/check.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

constexpr int64_t kGrain = 1 << 16;  // elements a chunk
constexpr int kMaxBlock = 4096;

// The bits of |x| order like |x|, with infinity and NaN above every number.
uint32_t AbsMaxBits(const float* x, int n) {
  uint32_t most = 0;
  for (int i = 0; i < n; ++i) most = std::max(most, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  return most;
}

// Counting the thresholds below t needs no branch, so that the compiler does eight elements at a time.
void Nf4Encode(const float* x, int n, float inv, uint8_t* code) {
  for (int i = 0; i < n; ++i) {
    const float t = x[i] * inv;
    int c = 0;
    for (float threshold : kNf4Thresholds) c += t > threshold;
    code[i] = static_cast<uint8_t>(c);
  }
}

void Fp4Encode(const float* x, int n, float inv, uint8_t* code) {
  for (int i = 0; i < n; ++i) {
    const float t = x[i] * inv, magnitude = std::fabs(t);
    int c = 0;
    for (float threshold : kFp4Thresholds) c += magnitude > threshold;
    code[i] = static_cast<uint8_t>(kFp4Patterns[c] | (t < 0 ? 8 : 0));
  }
}

// n may be odd; x[n] is then a zero that pads the last byte.
void EncodeBlock(Nf4Kind kind, const float* x, int n, float absmax, uint8_t* packed) {
  uint8_t code[kMaxBlock];
  const int padded = n + n % 2;
  const float inv = 1.0f / std::max(absmax, 1e-38f);  // finite: a block of zeros gets the code of zero
  kind == Nf4Kind::kNf4 ? Nf4Encode(x, padded, inv, code) : Fp4Encode(x, padded, inv, code);
  for (int j = 0; j < padded / 2; ++j) packed[j] = static_cast<uint8_t>(code[2 * j] << 4 | code[2 * j + 1]);
}

template <typename T>
void EncodeAll(const T* w, int64_t n, Nf4Kind kind, int block, uint8_t* codes, float* scales) {
  ParallelFor(NumBlocks(n, block), kGrain / block, [&](int64_t begin, int64_t end) {
    float x[kMaxBlock + 1];
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * block;
      const int count = static_cast<int>(std::min<int64_t>(block, n - first));
      for (int i = 0; i < count; ++i) x[i] = static_cast<float>(w[first + i]);
      x[count] = 0;
      scales[b] = std::bit_cast<float>(AbsMaxBits(x, count));
      EncodeBlock(kind, x, count, scales[b], codes + first / 2);
    }
  });
}

void Encode(View w, Nf4Kind kind, int32_t block, View codes, View scales, LaunchContext) {
  DispatchFloat(w.dtype, [&]<typename T>() {
    EncodeAll(w.ptr<const T>(), w.size(), kind, block, codes.ptr<uint8_t>(), scales.ptr<float>());
  });
}

void EncodeScales(View absmax, float mean, int32_t scale_block, View codes, View scale_scales, LaunchContext) {
  const int64_t n = absmax.size();
  ParallelFor(NumBlocks(n, scale_block), kGrain / scale_block, [&](int64_t begin, int64_t end) {
    float difference[kMaxBlock];
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * scale_block, count = std::min<int64_t>(scale_block, n - first);
      for (int64_t i = 0; i < count; ++i) difference[i] = absmax.ptr<const float>()[first + i] - mean;
      EncodeBlock8(difference, count, Map8::kSigned, codes.ptr<uint8_t>() + first, scale_scales.ptr<float>() + b);
    }
  });
}

void Decode(const Nf4View& w, View y, LaunchContext) {
  DispatchFloat(y.dtype, [&]<typename T>() {
    ParallelFor(y.size(), kGrain, [&](int64_t begin, int64_t end) { Nf4Decode(w, begin, end, y.ptr<T>() + begin); });
  });
}

void DecodeScales(const Nf4View& w, View scales, LaunchContext) { Nf4Scales(w, 0, scales.size(), scales.ptr<float>()); }

void GatherRows(const Nf4View& w, int64_t rows, View ids, View y, LaunchContext) {
  const int64_t d = y.dims[1];
  DispatchFloat(y.dtype, [&]<typename T>() {
    for (int64_t i = 0; i < ids.dims[0]; ++i) {
      const int64_t id = ids.ptr<const int32_t>()[i];
      LORIKEET_CHECK(id >= 0 && id < rows) << "Nf4Map: row " << id << " of " << rows;
      Nf4Decode(w, id * d, (id + 1) * d, y.ptr<T>() + i * d);
    }
  });
}

}  // namespace

const Nf4Kernels kCpuNf4 = {.decode = Decode,
                            .decode_scales = DecodeScales,
                            .gather_rows = GatherRows,
                            .encode = Encode,
                            .encode_scales = EncodeScales};

}  // namespace lorikeet
