#include "quant/nf4_avx512.h"

#include <immintrin.h>

#include "tensor/kernels/transpose_avx512.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kPrefetchBytes = 2048;  // ahead of the stream of codes

// Block sizes are powers of two: indices by shifting.
struct Scales {
  explicit Scales(const Nf4View& w)
      : w(w), shift(__builtin_ctz(static_cast<unsigned>(w.block))), scale_shift(__builtin_ctz(w.scale_block)) {}
  int64_t BlockOf(int64_t element) const { return element >> shift; }
  float operator[](int64_t b) const {
    if (w.scales_f32 != nullptr) return w.scales_f32[b];
    return w.scale_map[w.scales_u8[b]] * w.scale_scales[b >> scale_shift] + w.scale_mean;
  }
  const Nf4View& w;
  int shift, scale_shift;
};

// round_bf16(v) to nearest even, in integers.
inline __m256i RoundBF16(__m512 v) {
  const __m512i u = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

// vpermw looks at five bits of an index: entries 0..15 serve indices with bit 4 clear, 16..31 those with it set.
inline __m512i Join(__m256i low, __m256i high) { return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1); }

// round_bf16(code * scale) for the 16 codes, denormals as zero: with the first scale in the lower half, with the second
// in the upper.
inline __m512i FlushedTables(__m512 codes, float low_scale, float high_scale) {
  const __m512 low = _mm512_mul_ps(codes, _mm512_set1_ps(low_scale));
  const __m512 high = _mm512_mul_ps(codes, _mm512_set1_ps(high_scale));
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// Whether no code times this scale is a denormal. The least code but 0 is 1/192 (FP4's).
inline bool KeepsNormal(float scale) { return scale > 0x1p-110f || scale == 0; }

// The same with denormals, as dequantizing has them.
inline __m512i BF16Tables(__m512 codes, float low_scale, float high_scale) {
  if (KeepsNormal(low_scale) && KeepsNormal(high_scale)) [[likely]]
    return FlushedTables(codes, low_scale, high_scale);
  return Join(RoundBF16(_mm512_mul_ps(codes, _mm512_set1_ps(low_scale))),
              RoundBF16(_mm512_mul_ps(codes, _mm512_set1_ps(high_scale))));
}

// y = x*W^T: a byte is a pair along the reduction. 16 rows of W at a time: 32 weights of each become 16 pairs, and the
// 16 x 16 pairs are transposed.
void PackRows(const Nf4View& w, int64_t cols, int64_t k0, int64_t k_count, int64_t n0, uint16_t* dst) {
  const Scales scales(w);
  const __m512 codes = _mm512_loadu_ps(w.code_map);
  // Each byte becomes both words of its pair; the even element is the high half of the byte.
  const __m512i even = _mm512_set1_epi32(4);
  for (int64_t group = 0; group < 64; group += 16) {
    __m512i table[16], v[16];
    int64_t last[16];
    for (int64_t& b : last) b = -1;
    for (int64_t k = 0; k < k_count; k += 32) {
      for (int r = 0; r < 16; ++r) {
        const int64_t e = (n0 + group + r) * cols + k0 + k, b = scales.BlockOf(e);
        if (b != last[r]) {
          table[r] = BF16Tables(codes, scales[b], scales[b]);
          last[r] = b;
        }
        const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w.codes + e / 2)));
        const __m512i index = _mm512_srlv_epi16(_mm512_or_si512(bytes, _mm512_slli_epi32(bytes, 16)), even);
        v[r] = _mm512_permutexvar_epi16(index, table[r]);
      }
      Transpose16x16(v);
      for (int i = 0; i < 16; ++i) _mm512_store_si512(dst + (k / 2 + i) * 128 + 2 * group, v[i]);
    }
  }
}

// dx = dy*W: the two words of a pair come from two rows of W. Their tables are the two halves of one, so that a single
// lookup yields 16 finished pairs.
void PackColumns(const Nf4View& w, int64_t cols, int64_t k0, int64_t k_count, int64_t n0, uint16_t* dst) {
  const Scales scales(w);
  const __m512 codes = _mm512_loadu_ps(w.code_map);
  // Column n of the pair vector: byte n / 2 of the first row into the lower word, of the second row (16 bytes on) into
  // the upper one; the high half of the byte for even n.
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i byte = _mm512_srli_epi32(lane, 1);
  const __m512i spread = _mm512_or_si512(byte, _mm512_slli_epi32(_mm512_add_epi32(byte, _mm512_set1_epi32(16)), 16));
  const __m512i shift = _mm512_set1_epi64(0x00040004);  // even columns by 4, odd ones by 0
  for (int64_t k = 0; k < k_count; k += 2) {
    const int64_t e0 = (k0 + k) * cols + n0, e1 = e0 + cols;
    __m512i table = _mm512_setzero_si512();
    int64_t last0 = -1, last1 = -1;
    for (int64_t n = 0; n < 64; n += 32) {
      const int64_t b0 = scales.BlockOf(e0 + n), b1 = scales.BlockOf(e1 + n);
      if (b0 != last0 || b1 != last1) table = BF16Tables(codes, scales[b0], scales[b1]);
      last0 = b0;
      last1 = b1;
      const __m128i row0 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w.codes + (e0 + n) / 2));
      const __m128i row1 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w.codes + (e1 + n) / 2));
      const __m512i both = _mm512_castsi256_si512(_mm256_set_m128i(row1, row0));
      for (int64_t half = 0; half < 2; ++half) {
        const __m512i from = _mm512_add_epi8(spread, _mm512_set1_epi32(static_cast<int>(half * 0x00080008)));
        __m512i index = _mm512_srlv_epi16(_mm512_maskz_permutexvar_epi8(0x5555555555555555, from, both), shift);
        // (index & 0x000f000f) | 0x00100000
        index = _mm512_ternarylogic_epi32(index, _mm512_set1_epi32(0x000f000f), _mm512_set1_epi32(0x00100000), 0xea);
        _mm512_store_si512(dst + (k / 2) * 128 + 2 * (n + 16 * half), _mm512_permutexvar_epi16(index, table));
      }
    }
  }
}

// out[16 * j + i] = x[4 * i + j] for each run of 64: a 16 x 4 transpose.
void ArrangeF32(const float* x, int64_t cols, float* out) {
  const __m512i low = _mm512_set_epi32(29, 25, 21, 17, 13, 9, 5, 1, 28, 24, 20, 16, 12, 8, 4, 0);  // j = 0 and 1
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(2));                                // j = 2 and 3
  for (int64_t k = 0; k < cols; k += 64) {
    const __m512 a = _mm512_loadu_ps(x + k), b = _mm512_loadu_ps(x + k + 16);
    const __m512 c = _mm512_loadu_ps(x + k + 32), d = _mm512_loadu_ps(x + k + 48);
    const __m512 ab01 = _mm512_permutex2var_ps(a, low, b), cd01 = _mm512_permutex2var_ps(c, low, d);
    const __m512 ab23 = _mm512_permutex2var_ps(a, high, b), cd23 = _mm512_permutex2var_ps(c, high, d);
    _mm512_storeu_ps(out + k, _mm512_shuffle_f32x4(ab01, cd01, 0x44));
    _mm512_storeu_ps(out + k + 16, _mm512_shuffle_f32x4(ab01, cd01, 0xee));
    _mm512_storeu_ps(out + k + 32, _mm512_shuffle_f32x4(ab23, cd23, 0x44));
    _mm512_storeu_ps(out + k + 48, _mm512_shuffle_f32x4(ab23, cd23, 0xee));
  }
}

// The same for bf16, two runs side by side: out[32 * j + 16 * r + i] = x[64 * r + 4 * i + j]; zeros beyond cols.
void ArrangeBF16(const uint16_t* x, int64_t cols, uint16_t* out) {
  // Words 4 * i + j of two registers of 32, j = 0 in the lower half and 1 in the upper.
  const __m512i step = _mm512_set_epi32(0x3c0038, 0x340030, 0x2c0028, 0x240020, 0x1c0018, 0x140010, 0xc0008, 0x40000,
                                        0x3c0038, 0x340030, 0x2c0028, 0x240020, 0x1c0018, 0x140010, 0xc0008, 0x40000);
  const __m512i low = _mm512_add_epi16(step, Join(_mm256_setzero_si256(), _mm256_set1_epi16(1)));
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(2));
  for (int64_t k = 0; k < cols; k += 128) {
    const __mmask32 second = k + 128 <= cols ? 0xffffffffu : 0u;
    const __m512i a = _mm512_loadu_si512(x + k), b = _mm512_loadu_si512(x + k + 32);
    const __m512i c = _mm512_maskz_loadu_epi16(second, x + k + 64), d = _mm512_maskz_loadu_epi16(second, x + k + 96);
    const __m512i ab01 = _mm512_permutex2var_epi16(a, low, b), cd01 = _mm512_permutex2var_epi16(c, low, d);
    const __m512i ab23 = _mm512_permutex2var_epi16(a, high, b), cd23 = _mm512_permutex2var_epi16(c, high, d);
    _mm512_storeu_si512(out + k, _mm512_shuffle_i64x2(ab01, cd01, 0x44));
    _mm512_storeu_si512(out + k + 32, _mm512_shuffle_i64x2(ab01, cd01, 0xee));
    _mm512_storeu_si512(out + k + 64, _mm512_shuffle_i64x2(ab23, cd23, 0x44));
    _mm512_storeu_si512(out + k + 96, _mm512_shuffle_i64x2(ab23, cd23, 0xee));
  }
}

// A word holds four codes: shifted by 4 * t its lowest bits are those of element t ^ 1 of the four.
template <int M>
void DotF32(const Nf4View& w, int64_t cols, int64_t row0, int64_t rows, const float* x, float* y, int64_t y_stride) {
  const Scales scales(w);
  const int64_t stride = Nf4DotColumns(cols);
  const __m512 codes = _mm512_loadu_ps(w.code_map);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t e = (row0 + i) * cols;
    __m512 sum[M][4];
    for (auto& s : sum)
      for (__m512& lane : s) lane = _mm512_setzero_ps();
    for (int64_t k = 0; k < cols; k += 64) {
      const __m512 table = _mm512_mul_ps(codes, _mm512_set1_ps(scales[scales.BlockOf(e + k)]));
      const uint8_t* at = w.codes + (e + k) / 2;
      _mm_prefetch(reinterpret_cast<const char*>(at + kPrefetchBytes), _MM_HINT_T0);
      const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
      for (int t = 0; t < 4; ++t) {
        const __m512 weights = _mm512_permutexvar_ps(_mm512_srli_epi32(words, 4 * t), table);
        for (int m = 0; m < M; ++m) {
          sum[m][t] = _mm512_fmadd_ps(weights, _mm512_loadu_ps(x + m * stride + k + 16 * (t ^ 1)), sum[m][t]);
        }
      }
    }
    for (int m = 0; m < M; ++m) {
      const __m512 s = _mm512_add_ps(_mm512_add_ps(sum[m][0], sum[m][1]), _mm512_add_ps(sum[m][2], sum[m][3]));
      y[m * y_stride + i] = _mm512_reduce_add_ps(s);
    }
  }
}

// sum += 128 weights times x, or 64 if not kWhole: words 0..15 of the codes belong to one block, 16..31 to the next,
// whose table is the upper half. The dot instruction takes denormals as zero, so the tables may.
template <int M, bool kWhole>
[[gnu::always_inline]] inline void DotStep(const uint8_t* at, __m512 codes, const float* scale, const uint16_t* x,
                                           int64_t x_stride, __m512 (&sum)[M][4]) {
  const __m512i mask = _mm512_set1_epi32(0x000f000f);
  const __m512i upper = Join(_mm256_setzero_si256(), _mm256_set1_epi16(16));
  const __m512i table = FlushedTables(codes, scale[0], kWhole ? scale[1] : 0);  // x is 0 there
  const __m512i words = kWhole ? _mm512_loadu_si512(at)
                               : _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
  for (int t = 0; t < 4; ++t) {
    // (words >> 4t & 15) | 16 in the upper half
    const __m512i index = _mm512_ternarylogic_epi32(_mm512_srli_epi16(words, 4 * t), mask, upper, 0xea);
    const __m512bh weights = (__m512bh)_mm512_permutexvar_epi16(index, table);
    for (int m = 0; m < M; ++m) {
      const __m512i values = _mm512_loadu_si512(x + m * x_stride + 32 * (t ^ 1));
      sum[m][t] = _mm512_dpbf16_ps(sum[m][t], weights, (__m512bh)values);
    }
  }
}

// Up to 1024 weights of a row.
template <int M>
inline void DotBlocks(const uint8_t* at, __m512 codes, const float* scale, int64_t blocks, const uint16_t* x,
                      int64_t x_stride, __m512 (&sum)[M][4]) {
  int64_t b = 0;
  for (; b + 2 <= blocks; b += 2) {
    _mm_prefetch(reinterpret_cast<const char*>(at + 32 * b + kPrefetchBytes), _MM_HINT_T0);
    DotStep<M, true>(at + 32 * b, codes, scale + b, x + 64 * b, x_stride, sum);
  }
  if (b < blocks) DotStep<M, false>(at + 32 * b, codes, scale + b, x + 64 * b, x_stride, sum);
}

template <int M>
void DotBF16(const Nf4View& w, int64_t cols, int64_t row0, int64_t rows, const uint16_t* x, float* y,
             int64_t y_stride) {
  const Scales scales(w);
  const __m512 codes = _mm512_loadu_ps(w.code_map);
  const int64_t stride = Nf4DotColumns(cols);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t e = (row0 + i) * cols;
    __m512 sum[M][4];
    for (auto& s : sum)
      for (__m512& lane : s) lane = _mm512_setzero_ps();
    for (int64_t k = 0; k < cols; k += 1024) {
      alignas(64) float scale[16];
      const int64_t blocks = (cols - k < 1024 ? cols - k : 1024) / 64;
      const uint8_t* at = w.codes + (e + k) / 2;
      for (int64_t b = 0; b < blocks; ++b) scale[b] = scales[scales.BlockOf(e + k + 64 * b)];
      DotBlocks<M>(at, codes, scale, blocks, x + k, stride, sum);
    }
    for (int m = 0; m < M; ++m) {
      const __m512 s = _mm512_add_ps(_mm512_add_ps(sum[m][0], sum[m][1]), _mm512_add_ps(sum[m][2], sum[m][3]));
      y[m * y_stride + i] = _mm512_reduce_add_ps(s);
    }
  }
}

}  // namespace

void Nf4PackAvx512(const Nf4View& w, int64_t cols, bool transposed, int64_t k0, int64_t k_count, int64_t n0,
                   uint16_t* dst) {
  transposed ? PackRows(w, cols, k0, k_count, n0, dst) : PackColumns(w, cols, k0, k_count, n0, dst);
}

void Nf4DotF32Avx512(const Nf4View& w, int64_t cols, int64_t row0, int64_t rows, const float* x, int64_t m_count,
                     int64_t x_stride, float* scratch, float* y, int64_t y_stride) {
  for (int64_t m = 0; m < m_count; ++m) ArrangeF32(x + m * x_stride, cols, scratch + m * Nf4DotColumns(cols));
  constexpr decltype(&DotF32<1>) kDot[] = {DotF32<1>, DotF32<2>, DotF32<3>, DotF32<4>};
  kDot[m_count - 1](w, cols, row0, rows, scratch, y, y_stride);
}

void Nf4DotBF16Avx512(const Nf4View& w, int64_t cols, int64_t row0, int64_t rows, const uint16_t* x, int64_t m_count,
                      int64_t x_stride, uint16_t* scratch, float* y, int64_t y_stride) {
  for (int64_t m = 0; m < m_count; ++m) ArrangeBF16(x + m * x_stride, cols, scratch + m * Nf4DotColumns(cols));
  constexpr decltype(&DotBF16<1>) kDot[] = {DotBF16<1>, DotBF16<2>, DotBF16<3>, DotBF16<4>};
  kDot[m_count - 1](w, cols, row0, rows, scratch, y, y_stride);
}

}  // namespace lorikeet::internal
