// The inner loops of the matrix products: a strip of rows of y times one panel of at most 64 columns.
//
// A panel holds one operand in the order in which the loop reads it: [steps][width], width a multiple of 16. A step is
// one k (f32, f64) or a pair of neighbouring k (bf16: two bf16 in 32 bits). The other operand is read by broadcasts,
// from its rows or from a panel of its own: the strides say which.
// Included by files with their own instruction sets: nothing here may become code that they share.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_TILE_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_TILE_H_

#include <cstdint>

namespace lorikeet::internal {

// Memory that is about to be packed, walked a cache line at a time while a strip computes: a step asks for one line, so
// that packing finds it in the level-2 cache. The block has `rows` rows of row_bytes, row_stride bytes apart.
struct Prefetch {
  const char* row = nullptr;
  int64_t rows = 0, row_bytes = 64, row_stride = 0;
  int64_t offset = 0;  // of the next line in its row

  int64_t lines() const { return rows * ((row_bytes + 63) / 64); }  // at a row's start
  [[gnu::always_inline]] inline void Fetch() {
    __builtin_prefetch(row + offset, 0, 2);  // into the level-2 cache
    offset += 64;
    const bool ends = offset >= row_bytes;
    row += ends ? row_stride : 0;
    offset = ends ? 0 : offset;
  }
};

struct Strip {
  const char* a = nullptr;      // row 0, step 0
  int64_t a_row = 0;            // bytes from one row to the next
  int64_t a_step = 0;           // bytes from one step to the next
  int64_t rows = 0;             // any number
  const void* panel = nullptr;  // aligned to 64 bytes
  int64_t panel_step = 0;       // elements between its steps; 0: width. Others, with any alignment, for StripF32 alone
  int64_t width = 0;            // columns of the panel: 16, 32, 48 or 64
  int64_t columns = 0;          // those that exist: width - 15 .. width
  int64_t steps = 0;
  // More steps after those, the panel's next ones, with rows of another matrix, steps side by side: a low-rank
  // correction.
  const char* u = nullptr;
  int64_t u_row = 0, u_step = 0, u_steps = 0;
  // Sums [rows][width], float (double for f64): where they start (null: at zero) and where they are left. If stop is
  // null, the strip is finished instead: y = alpha * gain * sum + beta * y.
  const void* start = nullptr;
  void* stop = nullptr;
  void* y = nullptr;
  int64_t y_row = 0;    // elements from one row of y to the next; columns are contiguous
  bool y_bf16 = false;  // else y is f32. StripF32 takes only f32, StripF64 never finishes
  float alpha = 1, beta = 0;
  const float* gain = nullptr;  // one a column; null: 1
  Prefetch next = {};           // while the strip computes
};

void StripF32(const Strip& s);   // any instruction set that Highway knows
void StripF64(const Strip& s);   // plain C++
void StripBF16(const Strip& s);  // AMX where there is one, else AVX512_BF16
void StripBF16Amx(const Strip& s);
void StripBF16Avx512(const Strip& s);

// y[m * y_stride + i] = sum_k x[m * x_stride + k] * w[i * w_stride + k], m < m_count (1..4), i < rows.
struct DotRows {
  const void* x = nullptr;
  const void* w = nullptr;
  int64_t x_stride = 0, w_stride = 0, m_count = 0, rows = 0, k = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
};
void DotRowsF32(const DotRows& d);      // x and w are f32
void DotRowsF32BF16(const DotRows& d);  // x is f32, w bf16
void DotRowsBF16(const DotRows& d);     // AVX512_BF16: both are bf16

// dst[s][j] = the pair x[2s][j], x[2s+1][j], rounded to bf16; an odd k ends with a zero. n: a multiple of 16.
// AVX512_BF16.
void PackPairsF32(const float* x, int64_t stride, int64_t k, int64_t n, uint32_t* dst, int64_t width);

// Whether this processor has AVX512_BF16, and Highway has not been told to leave AVX-512 alone.
bool HaveBF16Dot();
// And whether it has AMX's bf16 tiles besides, which the system lets this process use.
bool HaveAmx();
bool MayUseAmx();  // asks the system

// How many rows the next tile of a strip takes: as many as the registers allow, the last two about equal. Static: each
// file has its own, compiled for its own instruction set.
static constexpr int64_t TileRows(int64_t left, int64_t most) {
  if (left <= most) return left;
  return left < 2 * most ? (left + 1) / 2 : most;
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_TILE_H_
