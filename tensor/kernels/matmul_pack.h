// Packing: from rows of a matrix into the panels that tensor/kernels/matmul_tile.h describes.
//
// All write dst [steps][width] in 32-bit cells, width a multiple of 16 and dst aligned to 64 bytes; columns from n to
// width become zero. Source strides are in elements.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_PACK_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_PACK_H_

#include <cstdint>

namespace lorikeet::internal {

// dst[s][j] = src[j][s], a transposition: k runs along the rows of src. A cell is an f32, or a pair of bf16.
void PackTransposed(const void* src, int64_t stride_bytes, int64_t steps, int64_t n, uint32_t* dst, int64_t width);

// dst[s][j] = the pair src[2s][j], src[2s+1][j] of bf16; an odd k ends with a zero.
void PackPairs(const uint16_t* src, int64_t stride, int64_t k, int64_t n, uint32_t* dst, int64_t width);

// dst[s][j] = src[s][j], f32.
void PackRows(const float* src, int64_t stride, int64_t k, int64_t n, float* dst, int64_t width);

// bf16 to f32, exact.
void WidenBF16(const uint16_t* src, int64_t n, float* dst);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_PACK_H_
