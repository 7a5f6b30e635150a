// From sums of 16 columns to a product's result in AVX-512, for the strips of bf16 (tensor/kernels/matmul_tile.h).
// Included by files with their own instruction sets: everything is static, so that each has its own.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_BF16_FINISH_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_BF16_FINISH_H_

#include <immintrin.h>

#include <cstdint>

namespace lorikeet::internal {

static inline __m512 WidenedBF16(__m256i b) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}

// y = scale * sum + beta * y for 16 columns, or for those in the mask: masked stores of 16-bit elements are slow.
template <bool kBeta>
static inline void Finish(__m512 sum, __m512 scale, float beta, uint16_t* y) {
  __m512 v = _mm512_mul_ps(sum, scale);
  const __m256i* old = reinterpret_cast<const __m256i*>(y);
  if constexpr (kBeta) v = _mm512_fmadd_ps(_mm512_set1_ps(beta), WidenedBF16(_mm256_loadu_si256(old)), v);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
}
template <bool kBeta>
static inline void Finish(__m512 sum, __m512 scale, float beta, uint16_t* y, __mmask16 mask) {
  __m512 v = _mm512_mul_ps(sum, scale);
  if constexpr (kBeta) v = _mm512_fmadd_ps(_mm512_set1_ps(beta), WidenedBF16(_mm256_maskz_loadu_epi16(mask, y)), v);
  _mm256_mask_storeu_epi16(y, mask, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
}
template <bool kBeta>
static inline void Finish(__m512 sum, __m512 scale, float beta, float* y) {
  __m512 v = _mm512_mul_ps(sum, scale);
  if constexpr (kBeta) v = _mm512_fmadd_ps(_mm512_set1_ps(beta), _mm512_loadu_ps(y), v);
  _mm512_storeu_ps(y, v);
}
template <bool kBeta>
static inline void Finish(__m512 sum, __m512 scale, float beta, float* y, __mmask16 mask) {
  __m512 v = _mm512_mul_ps(sum, scale);
  if constexpr (kBeta) v = _mm512_fmadd_ps(_mm512_set1_ps(beta), _mm512_maskz_loadu_ps(mask, y), v);
  _mm512_mask_storeu_ps(y, mask, v);
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_BF16_FINISH_H_
