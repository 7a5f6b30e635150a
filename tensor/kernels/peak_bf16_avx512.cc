#include <immintrin.h>

#include <cstdint>

#include "tensor/kernels/peak_loops.h"

namespace lorikeet::internal {

double LoopBF16Dot(int64_t rounds, float* sink) {
  const __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80));  // ones
  __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0;
  __m512 s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, s11 = s0;
  for (int64_t i = 0; i < rounds; ++i) {
    s0 = _mm512_dpbf16_ps(s0, x, x);
    s1 = _mm512_dpbf16_ps(s1, x, x);
    s2 = _mm512_dpbf16_ps(s2, x, x);
    s3 = _mm512_dpbf16_ps(s3, x, x);
    s4 = _mm512_dpbf16_ps(s4, x, x);
    s5 = _mm512_dpbf16_ps(s5, x, x);
    s6 = _mm512_dpbf16_ps(s6, x, x);
    s7 = _mm512_dpbf16_ps(s7, x, x);
    s8 = _mm512_dpbf16_ps(s8, x, x);
    s9 = _mm512_dpbf16_ps(s9, x, x);
    s10 = _mm512_dpbf16_ps(s10, x, x);
    s11 = _mm512_dpbf16_ps(s11, x, x);
    // Twelve equal chains would be merged into one.
    asm volatile("" : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5));
    asm volatile("" : "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9), "+v"(s10), "+v"(s11));
  }
  const __m512 low = _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)), _mm512_add_ps(s4, s5));
  const __m512 high =
      _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(s6, s7), _mm512_add_ps(s8, s9)), _mm512_add_ps(s10, s11));
  *sink += _mm512_cvtss_f32(_mm512_add_ps(low, high));
  return static_cast<double>(rounds) * kPeakChains * 16 * 4;
}

}  // namespace lorikeet::internal
