#include "tensor/kernels/attention_bf16.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"
#include "tensor/kernels/attention_panel.h"
#include "tensor/kernels/attention_tile.h"
#include "tensor/kernels/matmul_pack.h"
#include "tensor/kernels/matmul_tile.h"
#include "tensor/kernels/rows_f32.h"
#include "tensor/view.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kPairRows = kTileRows / 2;
constexpr int64_t kColumns = 64;  // of a panel of pairs of rows, at most

// Lanes that share the range of rows they see: two tiles of the product.
int64_t StripLanes() { return HaveAmx() ? 32 : 12; }

uint16_t* RowsOf(float* tile) { return reinterpret_cast<uint16_t*>(tile); }
const uint16_t* RowsOf(const float* tile) { return reinterpret_cast<const uint16_t*>(tile); }

// Where the pairs of rows of columns [column, column + 64) begin.
uint32_t* PairsOf(float* tile, int64_t width, int64_t column) {
  return reinterpret_cast<uint32_t*>(tile + kPairRows * width) + kPairRows * column;
}
const uint32_t* PairsOf(const float* tile, int64_t width, int64_t column) {
  return reinterpret_cast<const uint32_t*>(tile + kPairRows * width) + kPairRows * column;
}

void CopyRows(const Rows& rows, int64_t begin, int64_t n, int64_t width, uint16_t* out) {
  const int64_t d = rows.v.dims[2], stride = rows.v.strides[2];
  for (int64_t r = 0; r < n; ++r, out += width) {
    const uint16_t* from = rows.v.ptr<const uint16_t>() + rows.Offset(begin + r);
    if (stride == 1) {
      std::memcpy(out, from, static_cast<size_t>(d) * sizeof(uint16_t));
    } else {
      for (int64_t i = 0; i < d; ++i) out[i] = from[i * stride];
    }
    std::fill(out + d, out + width, uint16_t{0});
  }
}

bool AllFinite(const uint16_t* x, int64_t n) {
  constexpr uint16_t kExponent = 0x7f80;
  int bad = 0;
  for (int64_t i = 0; i < n; ++i) bad |= (x[i] & kExponent) == kExponent;
  return bad == 0;
}

void PackRowPairs(const uint16_t* rows, int64_t n, int64_t width, int64_t column, uint32_t* pairs) {
  const int64_t columns = std::min(kColumns, width - column);
  PackPairs(rows + column, width, n, columns, pairs, columns);
}

// out [lanes][width] += weights^T * tile, over the pairs that hold tile rows [from, to). The weights are in pairs too.
void AddProduct(const uint32_t* weights, const uint32_t* pairs, int64_t from, int64_t to, int64_t lanes,
                int64_t columns, int64_t width, float* out) {
  const int64_t first = from / 2;
  StripBF16({.a = reinterpret_cast<const char*>(weights + first * kLanes),
             .a_row = sizeof(uint32_t),
             .a_step = kLanes * static_cast<int64_t>(sizeof(uint32_t)),
             .rows = lanes,
             .panel = pairs + first * columns,
             .width = columns,
             .columns = columns,
             .steps = (to + 1) / 2 - first,
             .y = out,
             .y_row = width,
             .beta = 1});
}

// The pairs of a tile of n rows of which only some are seen; the others are zero, for 0 * NaN must not reach a sum.
void PackSeen(const float* tile, Run seen, int64_t n, int64_t width, int64_t column, uint32_t* pairs) {
  const int64_t columns = std::min(kColumns, width - column);
  alignas(64) uint16_t rows[kTileRows * kColumns] = {};
  for (int64_t t = seen.begin; t < seen.end; ++t) {
    std::copy_n(RowsOf(tile) + t * width + column, columns, rows + t * columns);
  }
  PackRowPairs(rows, n, columns, 0, pairs);
}

void AccumulateNotFinite(const Window& w, const uint32_t* weights, const float* tile, int64_t width, int64_t column,
                         float* out) {
  alignas(64) uint32_t pairs[kPairRows * kColumns];
  for (int64_t r = 0; r < w.lanes; ++r) {
    const Run run = w.runs[r];
    if (run.begin == run.end) continue;
    PackSeen(tile, run, w.rows, width, column, pairs);
    AddProduct(weights + r, pairs, run.begin, run.end, 1, std::min(kColumns, width - column), width,
               out + r * width + column);
  }
}

}  // namespace

bool BF16Products::LoadTile(const Rows& rows, int64_t begin, int64_t n, int64_t width, float* out) {
  CopyRows(rows, begin, n, width, RowsOf(out));
  for (int64_t c = 0; c < width; c += kColumns) PackRowPairs(RowsOf(out), n, width, c, PairsOf(out, width, c));
  return AllFinite(RowsOf(out), n * width);
}

void BF16Products::LoadPanel(const Rows& rows, int64_t begin, int64_t n, int64_t width, float, float* tile,
                             float* out) {
  CopyRows(rows, begin, n, width, RowsOf(tile));
  PackTransposed(tile, width * static_cast<int64_t>(sizeof(uint16_t)), (rows.v.dims[2] + 1) / 2, n,
                 reinterpret_cast<uint32_t*>(out), RoundUp(n, kLaneStep));
}

// All lanes, from the first row that any of them sees to the last.
void BF16Products::ScoreProduct(const Window& w, const float* tile, int64_t d, int64_t width, const float* panel,
                                float factor, float* s) {
  const int64_t from = w.runs[0].begin, to = w.runs[w.lanes - 1].end;
  if (to <= from) return;
  const int64_t lanes = RoundUp(w.lanes, kLaneStep);
  StripBF16({.a = reinterpret_cast<const char*>(RowsOf(tile) + from * width),
             .a_row = width * static_cast<int64_t>(sizeof(uint16_t)),
             .a_step = sizeof(uint32_t),
             .rows = to - from,
             .panel = panel,
             .width = lanes,
             .columns = lanes,
             .steps = (d + 1) / 2,
             .y = s + from * kLanes,
             .y_row = kLanes,
             .alpha = factor});
}

void BF16Products::Accumulate(const Window& w, const float* weights, const float* tile, bool finite, int64_t width,
                              const float* rescale, float* out) {
  for (int64_t r = 0; rescale != nullptr && r < w.lanes; ++r) {
    for (int64_t i = 0; i < width; ++i) out[r * width + i] *= rescale[r];
  }
  alignas(64) uint32_t pairs[kPairRows * kLanes];
  PackPairsF32(weights, kLanes, w.rows, RoundUp(w.lanes, kLaneStep), pairs, kLanes);
  for (int64_t c = 0; c < width; c += kColumns) {
    if (!finite) {
      AccumulateNotFinite(w, pairs, tile, width, c, out);
      continue;
    }
    const int64_t strip = w.full ? w.lanes : StripLanes();
    for (int64_t r = 0; r < w.lanes; r += strip) {
      const int64_t lanes = std::min(strip, w.lanes - r);
      const int64_t from = w.runs[r].begin, to = w.runs[r + lanes - 1].end;
      if (to <= from) continue;
      AddProduct(pairs + r, PairsOf(tile, width, c), from, to, lanes, std::min(kColumns, width - c), width,
                 out + r * width + c);
    }
  }
}

void BF16Products::AccumulateTransposed(const Window& w, const float* weights, const float* tile, bool finite,
                                        int64_t width, float* out) {
  alignas(64) bf16 narrow[kTileRows * kLanes];
  NarrowBF16(weights, w.rows * kLanes, narrow);
  if (w.lanes % 2 == 1) {  // the other half of the last pair
    for (int64_t t = 0; t < w.rows; ++t) narrow[t * kLanes + w.lanes] = bf16();
  }
  const int64_t strip = !finite ? 1 : w.full ? w.rows : StripLanes();
  alignas(64) uint32_t own[kPairRows * kColumns];
  for (int64_t c = 0; c < width; c += kColumns) {
    const int64_t columns = std::min(kColumns, width - c);
    Run seen = {0, 0};
    for (int64_t t = 0; t < w.rows; t += strip) {
      const int64_t rows = std::min(strip, w.rows - t);
      seen = w.LanesOf(t, t + rows, seen);
      if (seen.end <= seen.begin) continue;
      const uint32_t* pairs = PairsOf(tile, width, c);
      if (!finite) {
        PackSeen(tile, seen, w.lanes, width, c, own);
        pairs = own;
      }
      const int64_t first = seen.begin / 2;
      StripBF16({.a = reinterpret_cast<const char*>(narrow + t * kLanes + 2 * first),
                 .a_row = kLanes * static_cast<int64_t>(sizeof(bf16)),
                 .a_step = sizeof(uint32_t),
                 .rows = rows,
                 .panel = pairs + first * columns,
                 .width = columns,
                 .columns = columns,
                 .steps = (seen.end + 1) / 2 - first,
                 .y = out + t * width + c,
                 .y_row = width,
                 .beta = 1});
    }
  }
}

}  // namespace lorikeet::internal
