#include <immintrin.h>

#include <cstdint>

#include "tensor/kernels/matmul_thin_tile.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kColumns = 32, kGroup = 8;

inline __m512bh Pairs(__m512i v) { return reinterpret_cast<__m512bh>(v); }

// kRows rows by 32 columns, in 2 * kRows registers. kFull: all 32 columns exist.
template <int kRows, bool kFull>
void Tile(const ThinStrip& s, int64_t row) {
  const __mmask32 mask = kFull ? 0xffffffffu : (1u << s.columns) - 1;
  float* sums = s.sums + row * kColumns;
  __m512 sum[kRows][2];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    sum[i][0] = s.start ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + i * kColumns);
    sum[i][1] = s.start ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + i * kColumns + 16);
  }
  const uint32_t* thin = s.thin + row;
  const uint16_t* wide = s.wide;
  for (int64_t k = 0; k < s.k; k += 2, thin += s.thin_width, wide += 2 * s.wide_row) {
    const __m512i even = kFull ? _mm512_loadu_si512(wide) : _mm512_maskz_loadu_epi16(mask, wide);
    const __m512i odd = k + 1 < s.k ? _mm512_maskz_loadu_epi16(mask, wide + s.wide_row) : _mm512_setzero_si512();
    // Of each 8 columns the first 4 on one side, the others on the other: cheaper than their order, which comes last.
    const __m512bh left = Pairs(_mm512_unpacklo_epi16(even, odd)), right = Pairs(_mm512_unpackhi_epi16(even, odd));
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const __m512bh pair = Pairs(_mm512_set1_epi32(static_cast<int>(thin[i])));
      sum[i][0] = _mm512_dpbf16_ps(sum[i][0], pair, left);
      sum[i][1] = _mm512_dpbf16_ps(sum[i][1], pair, right);
    }
  }
  const __m512i first = _mm512_set_epi32(23, 22, 21, 20, 7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    const __m512 left = sum[i][0], right = sum[i][1];
    _mm512_storeu_ps(sums + i * kColumns, s.finish ? _mm512_permutex2var_ps(left, first, right) : left);
    _mm512_storeu_ps(sums + i * kColumns + 16, s.finish ? _mm512_permutex2var_ps(left, second, right) : right);
  }
}

template <bool kFull>
void Rows(const ThinStrip& s) {
  constexpr void (*kTiles[kGroup])(const ThinStrip&, int64_t) = {Tile<1, kFull>, Tile<2, kFull>, Tile<3, kFull>,
                                                                 Tile<4, kFull>, Tile<5, kFull>, Tile<6, kFull>,
                                                                 Tile<7, kFull>, Tile<8, kFull>};
  for (int64_t row = 0; row < s.rows; row += kGroup) {
    const int64_t rows = s.rows - row < kGroup ? s.rows - row : kGroup;
    kTiles[rows - 1](s, row);
  }
}

}  // namespace

void ThinStripBF16(const ThinStrip& s) { s.columns == kColumns ? Rows<true>(s) : Rows<false>(s); }

}  // namespace lorikeet::internal
