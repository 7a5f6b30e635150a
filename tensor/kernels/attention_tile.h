// The inner loops of attention in f32, in the widest instructions that the processor has (Highway, chosen at run time).
//
// Both passes look at the scores through one window: a panel of up to kLanes rows, transposed, against a tile of up to
// kTileRows rows. A score tile is [tile rows][kLanes]: what vectors do to its columns needs no sum across a vector.
//   forward:  the panel's rows are queries (the heads of a group side by side), the tile's are keys;
//   backward: the panel's rows are keys, the tile's are queries.
// Only for the CPU kernels of this package.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_TILE_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_TILE_H_

#include <cstdint>

namespace lorikeet::internal {

inline constexpr int64_t kLanes = 64;
inline constexpr int64_t kTileRows = 64;
inline constexpr int64_t kLaneStep = 16;    // widths of products are multiples of it
inline constexpr int64_t kProductRows = 6;  // rows that a product computes at a time

// c[i][j] = c[i][j] * row_scale[i] + sum_k a[i * a_row + k * a_step] * b[k * b_row + j],   i < rows, j < columns.
struct ProductArgs {
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  int64_t rows, columns, steps;      // columns: a multiple of kLaneStep
  bool add = true;                   // false: c is overwritten
  const float* row_scale = nullptr;  // null: 1
};
void Product(const ProductArgs& p);

// out[i][r] = factor * tile[r][i], i < d rounded up to 4, r < kLanes. tile is [kLanes][width], out [..][kLanes].
void Transpose(const float* tile, int64_t width, int64_t d, float factor, float* out);

// Scores are in base 2: s = factor * q.k, so that 2^s = e^(scale * q.k), with factor = scale * log2(e) multiplied into
// the panel. With a soft cap the panel carries scale / cap instead, and s = cap * log2(e) * tanh(product).
struct TileArgs {
  float* s;             // [rows][kLanes]: products of panel and tile
  int64_t rows, lanes;  // arrays over lanes are kLanes long
  // Lane r sees the tile rows first[r] <= t < last[r], which ascend with r; all of them if `full`.
  const float* first;
  const float* last;
  bool full;
  float cap = 0;  // cap * log2(e), or 0
};

// Forward: s becomes the weights 2^(s - max), 0 where unseen, and the running max [lanes] and sum [lanes] take the tile
// in. rescale[r] is what the lane's older sums must be multiplied with.
void SoftmaxTile(const TileArgs& t, float* max, float* sum, float* rescale);

// Backward: s becomes the weights p = 2^(s - lse), dp (dy.v) becomes ds = p * (dp - delta) * (slope of the soft cap).
// lse (base 2) and delta are one per tile row.
void GradTile(const TileArgs& t, const float* lse, const float* delta, float* dp);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_TILE_H_
