#include "quant/nf4_decode.h"

#include <algorithm>

namespace lorikeet {
namespace {

float Scale(const Nf4View& w, int64_t b) {
  if (w.scales_f32 != nullptr) return w.scales_f32[b];
  return w.scale_map[w.scales_u8[b]] * w.scale_scales[b / w.scale_block] + w.scale_mean;
}

// Elements [begin, end) of one block, whose 16 possible values are in `value`.
template <typename T>
void DecodeRun(const uint8_t* codes, const T* value, int64_t begin, int64_t end, T* out) {
  int64_t i = begin;
  if (i < end && i % 2 == 1) *out++ = value[codes[i++ / 2] & 15];
  for (; i + 1 < end; i += 2, out += 2) {
    const uint8_t pair = codes[i / 2];
    out[0] = value[pair >> 4];
    out[1] = value[pair & 15];
  }
  if (i < end) *out = value[codes[i / 2] >> 4];
}

}  // namespace

void Nf4Scales(const Nf4View& w, int64_t first, int64_t last, float* scales) {
  for (int64_t b = first; b < last; ++b) scales[b - first] = Scale(w, b);
}

template <typename T>
void Nf4Decode(const Nf4View& w, int64_t begin, int64_t end, T* out) {
  for (int64_t i = begin; i < end;) {
    const int64_t b = i / w.block, stop = std::min((b + 1) * w.block, end);
    const float scale = Scale(w, b);
    T value[16];  // a block's weights take 16 values only: round each once
    for (int c = 0; c < 16; ++c) value[c] = T(w.code_map[c] * scale);
    DecodeRun(w.codes, value, i, stop, out);
    out += stop - i;
    i = stop;
  }
}

template void Nf4Decode<float>(const Nf4View&, int64_t, int64_t, float*);
template void Nf4Decode<bf16>(const Nf4View&, int64_t, int64_t, bf16*);
template void Nf4Decode<f16>(const Nf4View&, int64_t, int64_t, f16*);
template void Nf4Decode<double>(const Nf4View&, int64_t, int64_t, double*);

}  // namespace lorikeet
