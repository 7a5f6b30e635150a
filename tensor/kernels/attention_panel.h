// Between tensors and the inner loops of attention_tile.h: rows into tiles and panels, and what a mask leaves of them.
//
// The queries of a key-value head are numbered over its group: row r of a sequence is head r % group of query r /
// group. So neighbouring rows have nearly the same position, and a mask cuts a tile along a narrow band. Keys are rows
// of group 1. Only for the CPU kernels of this package.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_PANEL_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_PANEL_H_

#include <algorithm>
#include <cstdint>

#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_mask.h"
#include "tensor/kernels/attention_tile.h"
#include "tensor/view.h"

namespace lorikeet::internal {

inline int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// The rows of one key-value head in one sequence.
struct Rows {
  const View& v;  // [tokens, heads, d]
  int64_t token;  // the sequence's first
  int64_t head;   // the group's first
  int64_t group;

  int64_t Offset(int64_t row) const {
    return (token + row / group) * v.strides[0] + (head + row % group) * v.strides[1];
  }
  // The same row of a tensor [tokens, heads].
  float& Of(const View& stats, int64_t row) const {
    return stats.ptr<float>()[(token + row / group) * stats.strides[0] + (head + row % group) * stats.strides[1]];
  }
};

// Rows [begin, begin + n) as out [n][width], zero beyond d. False if there is a NaN or an infinity among them.
bool LoadTile(const Rows& rows, int64_t begin, int64_t n, int64_t width, float* out);

// The same transposed and scaled: out [width][kLanes], zero beyond n and d. `tile` is room for [kLanes][width].
void LoadPanel(const Rows& rows, int64_t begin, int64_t n, int64_t width, float factor, float* tile, float* out);

// factor * x [n][width] into the tensor, rounded to its dtype. factors: one per row, or null for `factor`.
void StoreRows(const Rows& rows, int64_t begin, int64_t n, int64_t width, const float* factors, float factor, float* x);

// What the lanes of a panel see of one tile.
struct Window {
  Run runs[kLanes];  // of tile rows; both ends ascend from lane to lane
  alignas(64) float first[kLanes], last[kLanes];
  int64_t lanes, rows;
  bool full, empty;

  // Lane r sees seen[r], tile rows [begin, begin + n).
  void Set(const Run* seen, int64_t lane_count, int64_t begin, int64_t n);
  // The lanes that see any of the tile rows [from, to). `lanes_before` is what was found for earlier rows, or {0, 0}.
  Run LanesOf(int64_t from, int64_t to, Run lanes_before) const {
    Run r = lanes_before;
    while (r.begin < lanes && runs[r.begin].end <= from) ++r.begin;
    while (r.end < lanes && runs[r.end].begin < to) ++r.end;
    return r;
  }
  TileArgs Tile(float* s, float cap) const {
    return {.s = s, .rows = rows, .lanes = lanes, .first = first, .last = last, .full = full, .cap = cap};
  }
};

// s [rows][kLanes] = tile * panel, where anything is seen; elsewhere s may keep what it held.
void ScoreProduct(const Window& w, const float* tile, int64_t d, int64_t width, const float* panel, float* s);

// out[r] = out[r] * rescale[r] + sum of weights[t][r] * tile[t] over the tile rows t that lane r sees. Where the tile
// is not finite, lanes are taken one by one: 0 * NaN must not reach a lane that does not see it.
void Accumulate(const Window& w, const float* weights, const float* tile, bool finite, int64_t width,
                const float* rescale, float* out);

// The other way round: out[t] += sum of weights[t][r] * tile[r] over the lanes r that see tile row t, where `tile`
// holds the lanes' own rows, [lanes][width].
void AccumulateTransposed(const Window& w, const float* weights, const float* tile, bool finite, int64_t width,
                          float* out);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_PANEL_H_
