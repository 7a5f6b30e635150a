// The emulated products of a warpgroup against plain loops, with matrices laid out as a device wants them.
#include "third_party/cusim/cusim_wgmma.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "third_party/cusim/cusim_mma.h"

namespace {

// Small integers: exact in both 16-bit floats, and so are their sums in f32.
float Value(int i, int step) { return static_cast<float>(i * step % 17 - 8); }
uint16_t Bits(bool f16, float x) { return static_cast<uint16_t>(f16 ? PackF16(x, 0) : PackBF16(x, 0)); }

// Element (row, column) of a matrix of panels of 64 columns.
size_t Place(int rows, int row, int column) {
  return static_cast<size_t>(column / 64 * rows * 64 + row * 64 + (column % 64 / 8 ^ row % 8) * 8 + column % 8);
}

alignas(1024) uint16_t a_tile[64 * 64], b_tile[128 * 64];

// c [64, 8 * kTiles] = first + a [64, 16] * b, a and b from k = 16 on of what the tiles hold.
template <bool kF16, bool kMnMajor, bool kRegisters, int kTiles>
__global__ void WgmmaKernel(float* c, float first) {
  float sums[kTiles][4];
  for (auto& tile : sums) {
    for (float& x : tile) x = first;
  }
  const auto b = kMnMajor ? MnMajor(b_tile + 16 * 64, 32 * 128) : KMajor(b_tile + 16);
  const int warp = static_cast<int>(threadIdx.x) / 32, g = cusim::LaneId() / 4, t = cusim::LaneId() % 4;
  if constexpr (kRegisters) {
    uint32_t a[4];
    for (int i = 0; i < 4; ++i) {
      std::memcpy(&a[i], &a_tile[Place(64, 16 * warp + g + i % 2 * 8, 16 + 2 * t + i / 2 * 8)], 4);
    }
    Wgmma<kF16, kMnMajor>(sums, a, b, first != 0);
  } else {
    Wgmma<kF16, kMnMajor>(sums, KMajor(a_tile + 16), b, first != 0);
  }
  for (int n = 0; n < kTiles; ++n) {
    for (int i = 0; i < 4; ++i) {
      c[(16 * warp + g + i / 2 * 8) * 8 * kTiles + 8 * n + 2 * t + i % 2] = sums[n][i];
    }
  }
}

template <bool kF16, bool kMnMajor, bool kRegisters, int kTiles>
void ExpectProduct(float first) {
  constexpr int kN = 8 * kTiles;
  for (int row = 0; row < 64; ++row) {
    for (int k = 0; k < 64; ++k) a_tile[Place(64, row, k)] = Bits(kF16, Value(row * 64 + k, 7));
  }
  for (int n = 0; n < kN; ++n) {
    for (int k = 0; k < 32; ++k) {
      b_tile[kMnMajor ? Place(32, k, n) : Place(kN, n, k)] = Bits(kF16, Value(k * kN + n, 5));
    }
  }
  std::vector<float> c(64 * kN);
  ASSERT_EQ(Launch(WgmmaKernel<kF16, kMnMajor, kRegisters, kTiles>, 1, 128, 0, nullptr, c.data(), first), cudaSuccess);
  for (int row = 0; row < 64; ++row) {
    for (int n = 0; n < kN; ++n) {
      float want = first;
      for (int k = 16; k < 32; ++k) want += Value(row * 64 + k, 7) * Value(k * kN + n, 5);
      ASSERT_EQ(c[static_cast<size_t>(row * kN + n)], want) << row << " " << n;
    }
  }
}

TEST(CusimWgmmaTest, BothMatricesFromSharedMemory) {
  ExpectProduct<false, false, false, 8>(0);
  ExpectProduct<true, false, false, 16>(3);
}

TEST(CusimWgmmaTest, RowsOfKAndPanelsOfColumns) {
  ExpectProduct<false, true, false, 16>(1);
  ExpectProduct<true, true, false, 8>(0);
}

TEST(CusimWgmmaTest, OneMatrixFromRegisters) {
  ExpectProduct<false, true, true, 16>(2);
  ExpectProduct<true, true, true, 8>(0);
  ExpectProduct<false, false, true, 16>(0);
}

}  // namespace
