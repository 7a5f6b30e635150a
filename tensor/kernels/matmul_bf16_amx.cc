// The inner loop for AMX: tiles of 16 rows by 64 bytes, and a unit that multiplies two of them. A panel is in the order
// in which it wants one operand already: 16 steps of 16 columns are a tile. Rows of the other are read where they lie;
// those that are in a panel, too, are turned first. Everything has internal linkage but the entry points, so that no
// instruction of that set reaches a program by way of an inline function.
//
// A sum takes 16 steps at a time: the products of even k are added up, and those of odd k, and then both to the sum.
// That is so for every shape of tiles here, with zeros behind the last step, so how rows are divided changes no bit.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "tensor/kernels/matmul_bf16_finish.h"
#include "tensor/kernels/matmul_tile.h"
#include "tensor/kernels/transpose_avx512.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kTile = 16;           // rows of a tile, its columns of 32 bits, and steps
constexpr int64_t kRowBytes = 64;       // of a tile
constexpr int64_t kBlock = 2 * kTile;   // rows, and columns, whose sums are in registers
constexpr int64_t kTurnedSteps = 2048;  // as many as a block of k has; more cannot be turned

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0, 1: sums of the first rows; 2, 3: of the second ones; 4, 5: the rows; 6, 7: columns.
void Configure(int64_t first, int64_t second) {
  TileConfig c;
  const int64_t other = second > 0 ? second : kTile;
  const int64_t rows[8] = {first, first, other, other, first, other, kTile, kTile};
  for (int i = 0; i < 8; ++i) {
    c.rows[i] = static_cast<uint8_t>(rows[i]);
    c.row_bytes[i] = kRowBytes;
  }
  _tile_loadconfig(&c);
}

// Lines of memory that are asked for, so many with each tile.
struct Walk {
  Prefetch next;
  int64_t lines, each;

  [[gnu::always_inline]] inline void Fetch() {
    for (int64_t i = 0; i < each && lines > 0; ++i, --lines) next.Fetch();
  }
};

// Some rows and the steps that they are multiplied with. What is left of the steps after whole tiles is apart, with
// zeros behind it: rows [32][16], columns [16][width].
struct Part {
  const char* rows;
  int64_t row_stride, steps;
  const char* panel;
  const char *last_rows, *last_panel;
};

template <int R, int C>
[[gnu::always_inline]] inline void Multiply(const char* rows, int64_t row_stride, const char* panel,
                                            int64_t panel_row) {
  _tile_loadd(6, panel, panel_row);
  _tile_loadd(4, rows, row_stride);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (C == 2) {
    _tile_loadd(7, panel + kRowBytes, panel_row);
    _tile_dpbf16ps(1, 4, 7);
  }
  if constexpr (R == 2) {
    _tile_loadd(5, rows + kTile * row_stride, row_stride);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (C == 2) _tile_dpbf16ps(3, 5, 7);
  }
}

template <int R, int C>
inline void MultiplyPart(const Part& p, int64_t column, int64_t panel_row, Walk* walk) {
  const char* panel = p.panel + column * 4;
  const int64_t whole = p.steps / kTile;
  for (int64_t i = 0; i < whole; ++i) {
    walk->Fetch();
    Multiply<R, C>(p.rows + i * kRowBytes, p.row_stride, panel + i * kTile * panel_row, panel_row);
  }
  if (p.steps % kTile != 0) Multiply<R, C>(p.last_rows, kRowBytes, p.last_panel + column * 4, panel_row);
}

// For sums [row][column] of a block, in tiles.
template <int R, int C>
inline void LoadSums(const float* from, int64_t stride) {
  const int64_t bytes = stride * 4;
  if (from == nullptr) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  _tile_loadd(0, from, bytes);
  if constexpr (C == 2) _tile_loadd(1, from + kTile, bytes);
  if constexpr (R == 2) _tile_loadd(2, from + kTile * stride, bytes);
  if constexpr (R == 2 && C == 2) _tile_loadd(3, from + kTile * stride + kTile, bytes);
}
template <int R, int C>
inline void StoreSums(float* to, int64_t stride) {
  const int64_t bytes = stride * 4;
  _tile_stored(0, to, bytes);
  if constexpr (C == 2) _tile_stored(1, to + kTile, bytes);
  if constexpr (R == 2) _tile_stored(2, to + kTile * stride, bytes);
  if constexpr (R == 2 && C == 2) _tile_stored(3, to + kTile * stride + kTile, bytes);
}

template <bool kBeta, typename T>
void FinishBlock(const Strip& s, const float* sums, int64_t row, int64_t rows, int64_t column, int64_t tiles) {
  for (int64_t c = 0; c < tiles; ++c) {
    const int64_t first = column + c * kTile, exist = s.columns - first;
    const __mmask16 mask = exist >= kTile ? 0xffff : static_cast<__mmask16>((1u << exist) - 1);
    __m512 scale = _mm512_set1_ps(s.alpha);
    if (s.gain != nullptr) scale = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(mask, s.gain + first));
    T* y = static_cast<T*>(s.y) + row * s.y_row + first;
    for (int64_t r = 0; r < rows; ++r, y += s.y_row) {
      const __m512 sum = _mm512_load_ps(sums + r * kBlock + c * kTile);
      if (mask == 0xffff) {
        Finish<kBeta>(sum, scale, s.beta, y);
      } else {
        Finish<kBeta>(sum, scale, s.beta, y, mask);
      }
    }
  }
}
template <typename T>
void FinishBlock(const Strip& s, const float* sums, int64_t row, int64_t rows, int64_t column, int64_t tiles) {
  if (s.beta != 0) {
    FinishBlock<true, T>(s, sums, row, rows, column, tiles);
  } else {
    FinishBlock<false, T>(s, sums, row, rows, column, tiles);
  }
}

template <int R, int C>
void Block(const Strip& s, const Part (&parts)[2], int64_t row, int64_t rows, int64_t column, Walk* walk) {
  const int64_t at = row * s.width + column;
  LoadSums<R, C>(s.start == nullptr ? nullptr : static_cast<const float*>(s.start) + at, s.width);
  for (const Part& p : parts) MultiplyPart<R, C>(p, column, s.width * 4, walk);
  if (s.stop != nullptr) return StoreSums<R, C>(static_cast<float*>(s.stop) + at, s.width);
  alignas(64) float sums[kBlock * kBlock];
  StoreSums<R, C>(sums, kBlock);
  if (s.y_bf16) {
    FinishBlock<uint16_t>(s, sums, row, rows, column, C);
  } else {
    FinishBlock<float>(s, sums, row, rows, column, C);
  }
}

// to [r][step] = from [step][r], of up to 16 rows and steps; zeros beyond.
void Turn(const char* from, int64_t step_bytes, int64_t steps, int64_t rows, char* to, int64_t to_stride) {
  const __mmask16 mask = rows >= kTile ? 0xffff : static_cast<__mmask16>((1u << rows) - 1);
  __m512i r[16];
  for (int i = 0; i < 16; ++i)
    r[i] = i < steps ? _mm512_maskz_loadu_epi32(mask, from + i * step_bytes) : _mm512_setzero_si512();
  Transpose16x16(r);
  for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * to_stride, r[i]);
}

// Rows of up to kBlock that a tile can be loaded from.
struct RowBuffers {
  // A line more than the steps, so that 16 rows do not lie in one set of the cache.
  static constexpr int64_t kStride = kTurnedSteps * 4 + kRowBytes;
  alignas(64) char turned[kBlock * kStride];
  alignas(64) char last[2][kBlock * kRowBytes];
};

void PrepareRows(const char* a, int64_t a_row, int64_t a_step, int64_t rows, char* turned, char* last, Part* part) {
  const int64_t whole = part->steps / kTile, left = part->steps % kTile;
  part->last_rows = last;
  if (a_step == 4) {
    part->rows = a;
    part->row_stride = a_row;
    if (left == 0) return;
    for (int64_t r = 0; r < rows; ++r) {
      const __m512i end =
          _mm512_maskz_loadu_epi32(static_cast<__mmask16>((1u << left) - 1), a + r * a_row + whole * kRowBytes);
      _mm512_store_si512(last + r * kRowBytes, end);
    }
    return;
  }
  if (part->steps > kTurnedSteps) __builtin_trap();
  part->rows = turned;
  part->row_stride = RowBuffers::kStride;
  for (int64_t r = 0; r < rows; r += kTile) {
    for (int64_t i = 0; i < whole; ++i) {
      Turn(a + r * a_row + i * kTile * a_step, a_step, kTile, rows - r,
           turned + r * RowBuffers::kStride + i * kRowBytes, RowBuffers::kStride);
    }
    if (left > 0) Turn(a + r * a_row + whole * kTile * a_step, a_step, left, rows - r, last + r * kRowBytes, kRowBytes);
  }
}

// The steps of the panel that are no whole tile, with zeros behind.
void PrepareLast(const char* panel, int64_t steps, int64_t width, char* last, Part* part) {
  part->steps = steps;
  part->panel = panel;
  part->last_panel = last;
  const int64_t left = steps % kTile, row = width * 4;
  if (left == 0) return;
  std::memcpy(last, panel + (steps - left) * row, static_cast<size_t>(left * row));
  std::memset(last + left * row, 0, static_cast<size_t>((kTile - left) * row));
}

void BlockOf(const Strip& s, const Part (&parts)[2], int64_t row, int64_t rows, int64_t column, Walk* walk) {
  const bool wide = s.width - column >= kBlock;
  if (rows > kTile) {
    return wide ? Block<2, 2>(s, parts, row, rows, column, walk) : Block<2, 1>(s, parts, row, rows, column, walk);
  }
  return wide ? Block<1, 2>(s, parts, row, rows, column, walk) : Block<1, 1>(s, parts, row, rows, column, walk);
}

}  // namespace

void StripBF16Amx(const Strip& s) {
  static thread_local RowBuffers buffers;
  alignas(64) char last_panel[2][kTile * 4 * kTile * 4];
  Part parts[2];
  const char* panel = static_cast<const char*>(s.panel);
  PrepareLast(panel, s.steps, s.width, last_panel[0], &parts[0]);
  PrepareLast(panel + s.steps * s.width * 4, s.u_steps, s.width, last_panel[1], &parts[1]);
  const int64_t tiles = (s.rows + kBlock - 1) / kBlock * ((s.width + kBlock - 1) / kBlock) * (s.steps / kTile + 1);
  Walk walk{s.next, s.next.lines(), (s.next.lines() + tiles - 1) / tiles};
  int64_t configured = 0;
  for (int64_t row = 0; row < s.rows; row += kBlock) {
    const int64_t rows = s.rows - row < kBlock ? s.rows - row : kBlock;
    if (rows != configured) Configure(rows < kTile ? rows : kTile, rows - kTile);
    configured = rows;
    PrepareRows(s.a + row * s.a_row, s.a_row, s.a_step, rows, buffers.turned, buffers.last[0], &parts[0]);
    if (s.u_steps > 0) PrepareRows(s.u + row * s.u_row, s.u_row, s.u_step, rows, nullptr, buffers.last[1], &parts[1]);
    for (int64_t column = 0; column < s.width; column += kBlock) BlockOf(s, parts, row, rows, column, &walk);
  }
  _tile_release();
}

// The system gives a process the tiles' registers when it asks for them. Source: Linux,
// Documentation/arch/x86/xstate.rst.
bool MayUseAmx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace lorikeet::internal
