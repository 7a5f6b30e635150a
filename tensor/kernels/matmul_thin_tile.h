// The inner loop of thin products. Included by a file with its own instruction set: nothing here may become code that
// files share.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_THIN_TILE_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_THIN_TILE_H_

#include <cstdint>

namespace lorikeet::internal {

// sums[i][j] += sum_k thin[k][i] * wide[k][j] for i < rows, j < columns: per pair of k the odd product first, as
// vdpbf16ps adds them.
struct ThinStrip {
  const uint32_t* thin = nullptr;  // [(k + 1) / 2][thin_width], pairs along k; an odd k ends with a zero
  int64_t thin_width = 0;
  int64_t rows = 0;
  const uint16_t* wide = nullptr;  // bf16, [k] rows
  int64_t wide_row = 0;            // elements from one row to the next
  int64_t k = 0;
  int64_t columns = 0;    // 1..32
  float* sums = nullptr;  // [rows][32], columns in an order of its own until `finish`
  bool start = false;     // at zero, whatever sums held
  bool finish = false;    // leave the columns in order
};
void ThinStripBF16(const ThinStrip& s);  // AVX512_BF16

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_THIN_TILE_H_
