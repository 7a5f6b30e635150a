// Decoding 4-bit weights, as kernels see them: raw pointers, no ownership. quant/nf4.h is the interface over it.
//
//   element i of block b = i / block:   code = i even ? codes[i/2] >> 4 : codes[i/2] & 15
//                                       w[i] = round_to_T( code_map[code] * scale(b) )          one float32 product
//   scale(b) = scales_f32[b]
//      or, double-quantized,  scale_map[scales_u8[b]] * scale_scales[b / scale_block] + scale_mean
//
// Blocks run over the flattened row-major weight, so that they may straddle rows. Nothing is checked here. The
// functions are the CPU's; nf4_kernels.h has what every device can do.
#ifndef LORIKEET_QUANT_NF4_DECODE_H_
#define LORIKEET_QUANT_NF4_DECODE_H_

#include <cstdint>

#include "tensor/dtype.h"

namespace lorikeet {

enum class Nf4Kind : uint8_t { kNf4, kFp4 };

// On one device, whichever that is.
struct Nf4View {
  const uint8_t* codes = nullptr;
  const float* scales_f32 = nullptr;    // exactly one of these two is set
  const uint8_t* scales_u8 = nullptr;   //
  const float* scale_scales = nullptr;  // the rest goes with scales_u8
  const float* scale_map = nullptr;     // [256]
  float scale_mean = 0;
  int32_t scale_block = 256;
  const float* code_map = nullptr;  // [16]
  int32_t block = 64;
};

// scales[b - first] = scale(b) for blocks [first, last). Two roundings: the product, then the sum.
void Nf4Scales(const Nf4View& w, int64_t first, int64_t last, float* scales);

// out[i - begin] = w[i] for elements [begin, end), which need not begin or end with a block. T: float, bf16, f16,
// double.
template <typename T>
void Nf4Decode(const Nf4View& w, int64_t begin, int64_t end, T* out);

extern template void Nf4Decode<float>(const Nf4View&, int64_t, int64_t, float*);
extern template void Nf4Decode<bf16>(const Nf4View&, int64_t, int64_t, bf16*);
extern template void Nf4Decode<f16>(const Nf4View&, int64_t, int64_t, f16*);
extern template void Nf4Decode<double>(const Nf4View&, int64_t, int64_t, double*);

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_NF4_DECODE_H_
