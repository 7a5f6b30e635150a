#include "tensor/kernels/rows_bf16_avx512.h"

#include <immintrin.h>

namespace lorikeet::internal {
namespace {

constexpr int kDenormal = 0x20;  // of vfpclassps

inline __m512i Narrow(__m512 low, __m512 high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)); }

}  // namespace

int64_t NarrowBF16Avx512(const float* x, int64_t n, uint16_t* out) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + 16);
    const __m512 c = _mm512_loadu_ps(x + i + 32), d = _mm512_loadu_ps(x + i + 48);
    const __mmask16 ab = _mm512_fpclass_ps_mask(a, kDenormal) | _mm512_fpclass_ps_mask(b, kDenormal);
    const __mmask16 cd = _mm512_fpclass_ps_mask(c, kDenormal) | _mm512_fpclass_ps_mask(d, kDenormal);
    if ((ab | cd) != 0) return i;
    _mm512_storeu_si512(out + i, Narrow(a, b));
    _mm512_storeu_si512(out + i + 32, Narrow(c, d));
  }
  return i;
}

}  // namespace lorikeet::internal
