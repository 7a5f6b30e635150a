#include "tensor/kernels/attention_panel.h"

#include <algorithm>
#include <cstdint>

#include "tensor/kernels/attention_mask.h"
#include "tensor/kernels/attention_tile.h"
#include "tensor/kernels/rows.h"
#include "tensor/kernels/rows_f32.h"
#include "tensor/view.h"

namespace lorikeet::internal {

bool LoadTile(const Rows& rows, int64_t begin, int64_t n, int64_t width, float* out) {
  const int64_t d = rows.v.dims[2];
  for (int64_t r = 0; r < n; ++r) {
    CopyRow(rows.v, rows.Offset(begin + r), d, rows.v.strides[2], out + r * width);
    std::fill(out + r * width + d, out + (r + 1) * width, 0.0f);
  }
  return AllFinite(out, n * width);
}

void LoadPanel(const Rows& rows, int64_t begin, int64_t n, int64_t width, float factor, float* tile, float* out) {
  LoadTile(rows, begin, n, width, tile);
  std::fill(tile + n * width, tile + kLanes * width, 0.0f);
  Transpose(tile, width, rows.v.dims[2], factor, out);
}

void StoreRows(const Rows& rows, int64_t begin, int64_t n, int64_t width, const float* factors, float factor,
               float* x) {
  const int64_t d = rows.v.dims[2];
  for (int64_t r = 0; r < n; ++r) {
    const float f = factors == nullptr ? factor : factors[r];
    for (int64_t i = 0; i < d; ++i) x[r * width + i] *= f;
    StoreRow(x + r * width, rows.v, rows.Offset(begin + r), d, rows.v.strides[2]);
  }
}

void Window::Set(const Run* seen, int64_t lane_count, int64_t begin, int64_t n) {
  lanes = lane_count;
  rows = n;
  full = true;
  empty = true;
  for (int64_t r = 0; r < kLanes; ++r) {
    runs[r] = r < lanes ? Clamped(seen[r].begin - begin, seen[r].end - begin, n) : Run{0, 0};
    first[r] = static_cast<float>(runs[r].begin);
    last[r] = static_cast<float>(runs[r].end);
    if (r >= lanes) continue;
    full = full && runs[r].begin == 0 && runs[r].end == n;
    empty = empty && runs[r].begin == runs[r].end;
  }
}

void ScoreProduct(const Window& w, const float* tile, int64_t d, int64_t width, const float* panel, float* s) {
  ProductArgs p{.a = tile,
                .a_row = width,
                .a_step = 1,
                .b = panel,
                .b_row = kLanes,
                .c = s,
                .c_row = kLanes,
                .rows = w.rows,
                .columns = RoundUp(w.lanes, kLaneStep),
                .steps = d,
                .add = false};
  if (w.full) return Product(p);
  // Only the lanes that see any row of a strip.
  Run seen = {0, 0};
  for (int64_t t = 0; t < w.rows; t += kProductRows) {
    p.rows = std::min(kProductRows, w.rows - t);
    seen = w.LanesOf(t, t + p.rows, seen);
    const int64_t column = seen.begin / kLaneStep * kLaneStep;
    if (seen.end <= seen.begin) continue;
    p.a = tile + t * width;
    p.b = panel + column;
    p.c = s + t * kLanes + column;
    p.columns = RoundUp(seen.end - column, kLaneStep);
    Product(p);
  }
}

void Accumulate(const Window& w, const float* weights, const float* tile, bool finite, int64_t width,
                const float* rescale, float* out) {
  const int64_t strip = !finite ? 1 : w.full ? w.lanes : kProductRows;
  for (int64_t r = 0; r < w.lanes; r += strip) {
    const int64_t lanes = std::min(strip, w.lanes - r);
    const int64_t from = w.runs[r].begin, to = w.runs[r + lanes - 1].end;
    if (to <= from) continue;  // nothing seen, so there is nothing to rescale either
    Product({.a = weights + from * kLanes + r,
             .a_row = 1,
             .a_step = kLanes,
             .b = tile + from * width,
             .b_row = width,
             .c = out + r * width,
             .c_row = width,
             .rows = lanes,
             .columns = width,
             .steps = to - from,
             .add = true,
             .row_scale = rescale == nullptr ? nullptr : rescale + r});
  }
}

void AccumulateTransposed(const Window& w, const float* weights, const float* tile, bool finite, int64_t width,
                          float* out) {
  const int64_t strip = !finite ? 1 : w.full ? w.rows : kProductRows;
  Run seen = {0, 0};
  for (int64_t t = 0; t < w.rows; t += strip) {
    const int64_t rows = std::min(strip, w.rows - t);
    seen = w.LanesOf(t, t + rows, seen);
    if (seen.end <= seen.begin) continue;
    Product({.a = weights + t * kLanes + seen.begin,
             .a_row = kLanes,
             .a_step = 1,
             .b = tile + seen.begin * width,
             .b_row = width,
             .c = out + t * width,
             .c_row = width,
             .rows = rows,
             .columns = width,
             .steps = seen.end - seen.begin});
  }
}

}  // namespace lorikeet::internal
