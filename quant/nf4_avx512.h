// Decoding of 4-bit weights into bf16 panels and dot products, with AVX-512 (BW, VL, VBMI, BF16). nf4_panels.cc picks
// these functions by cpuid; nf4_avx512.cc is compiled with its own flags and includes nothing with inline functions of
// ours, so that no AVX-512 code leaks into other files.
//
// The trick: a block's weights take only 16 values. Compute and round the 16 products code * scale once per block and
// look the bf16 results up, 32 at a time, with vpermw: no multiplication per weight, and the bits of
// round_bf16(code * scale) by construction.
#ifndef LORIKEET_QUANT_NF4_AVX512_H_
#define LORIKEET_QUANT_NF4_AVX512_H_

#include <cstdint>

#include "quant/nf4_decode.h"

namespace lorikeet::internal {

// PanelSource::pack_bf16 of the weight [rows, cols]. cols is a multiple of 32.
void Nf4PackAvx512(const Nf4View& w, int64_t cols, bool transposed, int64_t k0, int64_t k_count, int64_t n0,
                   uint16_t* dst);

// y[m * y_stride + i] = sum_k x[m * x_stride + k] * W[row0 + i, k] for i < rows, m < m_count <= 4. cols and the block
// size are multiples of 64. x is first put into `scratch`, which holds 4 * Nf4DotColumns(cols) elements, in the order
// in which codes come out of their words.
constexpr int64_t Nf4DotColumns(int64_t cols) { return (cols + 127) / 128 * 128; }
void Nf4DotF32Avx512(const Nf4View& w, int64_t cols, int64_t row0, int64_t rows, const float* x, int64_t m_count,
                     int64_t x_stride, float* scratch, float* y, int64_t y_stride);
void Nf4DotBF16Avx512(const Nf4View& w, int64_t cols, int64_t row0, int64_t rows, const uint16_t* x, int64_t m_count,
                      int64_t x_stride, uint16_t* scratch, float* y, int64_t y_stride);

}  // namespace lorikeet::internal

#endif  // LORIKEET_QUANT_NF4_AVX512_H_
