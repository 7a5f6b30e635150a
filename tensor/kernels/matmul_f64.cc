#include "tensor/kernels/matmul_tile.h"

namespace lorikeet::internal {

// For gradient checks: short rather than fast.
void StripF64(const Strip& s) {
  const double* panel = static_cast<const double*>(s.panel);
  for (int64_t row = 0; row < s.rows; ++row) {
    for (int64_t column = 0; column < s.width; column += 16) {
      const int64_t at = row * s.width + column;
      double sum[16];
      for (int j = 0; j < 16; ++j) sum[j] = s.start == nullptr ? 0 : static_cast<const double*>(s.start)[at + j];
      for (int64_t step = 0; step < s.steps; ++step) {
        const double a = *reinterpret_cast<const double*>(s.a + row * s.a_row + step * s.a_step);
        const double* b = panel + step * s.width + column;
        for (int j = 0; j < 16; ++j) sum[j] += a * b[j];
      }
      for (int j = 0; j < 16; ++j) static_cast<double*>(s.stop)[at + j] = sum[j];
    }
  }
}

}  // namespace lorikeet::internal
