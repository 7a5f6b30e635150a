// The products of attention on bf16 tensors, with the processor's instructions for pairs of bf16. The functions are
// those of attention_panel.h, in the same room (arrays of floats), with other contents:
//   a tile holds rows [kTileRows][width] of bf16, then its rows in pairs, panels of 64 columns of [kTileRows / 2][..];
//   a panel holds pairs of columns, [(d + 1) / 2][lanes rounded up to kLaneStep].
// Sums, softmax and its gradient are f32 as there; the weights p and ds are rounded to bf16 on their way into products.
// Only for the CPU kernels of this package, and where HaveBF16Dot().
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_BF16_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_BF16_H_

#include <cstdint>

#include "tensor/kernels/attention_panel.h"

namespace lorikeet::internal {

struct BF16Products {
  static bool LoadTile(const Rows& rows, int64_t begin, int64_t n, int64_t width, float* out);
  // Not scaled: ScoreProduct multiplies by the factor.
  static void LoadPanel(const Rows& rows, int64_t begin, int64_t n, int64_t width, float factor, float* tile,
                        float* out);
  static void ScoreProduct(const Window& w, const float* tile, int64_t d, int64_t width, const float* panel,
                           float factor, float* s);
  static void Accumulate(const Window& w, const float* weights, const float* tile, bool finite, int64_t width,
                         const float* rescale, float* out);
  static void AccumulateTransposed(const Window& w, const float* weights, const float* tile, bool finite, int64_t width,
                                   float* out);
};

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_BF16_H_
