// The one conversion for which processors with AVX512_BF16 have an instruction. Included by a file with its own
// instruction set: nothing here may become code that files share.
#ifndef LORIKEET_TENSOR_KERNELS_ROWS_BF16_AVX512_H_
#define LORIKEET_TENSOR_KERNELS_ROWS_BF16_AVX512_H_

#include <cstdint>

namespace lorikeet::internal {

// As NarrowBF16 of rows_f32.h, for the first n / 64 * 64 elements; returns how many it did: it stops short of 64 in
// which a denormal number is, which the instruction would take as zero.
int64_t NarrowBF16Avx512(const float* x, int64_t n, uint16_t* out);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ROWS_BF16_AVX512_H_
