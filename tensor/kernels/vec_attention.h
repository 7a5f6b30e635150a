// Attention of one query over rows of keys and values where they lie, in the widest instructions that the processor has
// (Highway, chosen at run time). For generation: a query or two do not pay for tiles.
//
//   internal::VecScores(q, k, stride, n, d, s);            // s[j] = sum_i q[i] * k[j * stride + i]       j < n, i < d
//   internal::VecWeightedSum(p, v, stride, n, d, y);       // y[i] = sum_j p[j] * v[j * stride + i]
//
// Arithmetic and sums are in f32. Threads: any.
#ifndef LORIKEET_TENSOR_KERNELS_VEC_ATTENTION_H_
#define LORIKEET_TENSOR_KERNELS_VEC_ATTENTION_H_

#include <cstdint>

#include "tensor/dtype.h"

namespace lorikeet::internal {

void VecScores(const float* q, const float* k, int64_t stride, int64_t n, int64_t d, float* s);
void VecScores(const float* q, const bf16* k, int64_t stride, int64_t n, int64_t d, float* s);

void VecWeightedSum(const float* p, const float* v, int64_t stride, int64_t n, int64_t d, float* y);
void VecWeightedSum(const float* p, const bf16* v, int64_t stride, int64_t n, int64_t d, float* y);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_VEC_ATTENTION_H_
