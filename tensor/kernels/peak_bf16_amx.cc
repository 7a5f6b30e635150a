#include <immintrin.h>

#include <cstdint>

#include "tensor/kernels/peak_loops.h"

namespace lorikeet::internal {

// Six tiles of sums: the unit takes one product of two tiles every 16 cycles, and each takes 52.
double LoopBF16Amx(int64_t rounds, float* sink) {
  constexpr int64_t kTiles = kPeakChains / 2, kFlops = 16 * 16 * 32 * 2;
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 6, 7);
    _tile_dpbf16ps(1, 6, 7);
    _tile_dpbf16ps(2, 6, 7);
    _tile_dpbf16ps(3, 6, 7);
    _tile_dpbf16ps(4, 6, 7);
    _tile_dpbf16ps(5, 6, 7);
  }
  alignas(64) float sums[256];
  _tile_stored(0, sums, 64);
  *sink += sums[0];
  _tile_release();
  return static_cast<double>(rounds) * kTiles * kFlops;
}

}  // namespace lorikeet::internal
