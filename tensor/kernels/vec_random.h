// Random bits and dropout on contiguous runs, in the widest instructions that the processor has (Highway, chosen at run
// time). The bits are those of tensor/random.h's Philox, whatever the width.
//
//   internal::VecPhilox(key, /*counter=*/8, /*blocks=*/4, words);     // 16 words: counters 8, 9, 10 and 11
//   internal::VecDropout(x, words, threshold, scale, y, n);           // y may be x
//
// Threads: any.
#ifndef LORIKEET_TENSOR_KERNELS_VEC_RANDOM_H_
#define LORIKEET_TENSOR_KERNELS_VEC_RANDOM_H_

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/random.h"

namespace lorikeet::internal {

// Written at a time: `blocks` is rounded up to a multiple, so words has room for that many.
inline constexpr int64_t kPhiloxBlocks = 16;

// words[4 * b + j] = word j of counter + b.
void VecPhilox(RngKey key, uint64_t counter, int64_t blocks, uint32_t* words);

// y[i] = words[i] >> 8 >= threshold ? x[i] * scale : 0.
void VecDropout(const float* x, const uint32_t* words, int32_t threshold, float scale, float* y, int64_t n);
void VecDropout(const bf16* x, const uint32_t* words, int32_t threshold, float scale, bf16* y, int64_t n);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_VEC_RANDOM_H_
