#include "tensor/kernels/matmul_tile.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kRows = 13, kK = 38, kColumns = 61, kWidth = 64;

template <typename T>
struct Free {
  void operator()(T* p) const { std::free(p); }
};
template <typename T>
using Aligned = std::unique_ptr<T[], Free<T>>;
template <typename T>
Aligned<T> Allocate(int64_t n) {
  return Aligned<T>(static_cast<T*>(std::aligned_alloc(64, static_cast<size_t>(n) * sizeof(T))));
}

float Random(std::mt19937& bits) { return static_cast<float>(bits()) * 0x1p-31F - 1; }

// a [kRows][kK] and b [kK][kWidth].
template <typename T>
struct Operands {
  std::vector<T> a, b;
  Operands() {
    std::mt19937 bits(7);
    for (int64_t i = 0; i < kRows * kK; ++i) a.push_back(T(Random(bits)));
    for (int64_t i = 0; i < kK * kWidth; ++i) b.push_back(T(Random(bits)));
  }
  float A(int64_t i, int64_t k) const { return a[static_cast<size_t>(i * kK + k)]; }
  float B(int64_t k, int64_t j) const { return b[static_cast<size_t>(k * kWidth + j)]; }
};

TEST(MatMulTileTest, TheBF16DotAddsTheOddProductOfAPairThenTheEvenOne) {
  if (!HaveBF16Dot()) GTEST_SKIP() << "this processor has no bf16 dot instruction";
  const Operands<bf16> x;
  const Aligned<bf16> panel = Allocate<bf16>(kK * kWidth);
  for (int64_t k = 0; k < kK; ++k) {
    for (int64_t j = 0; j < kWidth; ++j) panel[k / 2 * 2 * kWidth + 2 * j + k % 2] = bf16(x.B(k, j));
  }
  std::vector<float> y(kRows * kColumns);
  StripBF16({.a = reinterpret_cast<const char*>(x.a.data()),
             .a_row = kK * 2,
             .a_step = 4,
             .rows = kRows,
             .panel = panel.get(),
             .width = kWidth,
             .columns = kColumns,
             .steps = kK / 2,
             .y = y.data(),
             .y_row = kColumns});
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < kK; k += 2) {
        sum = std::fma(x.A(i, k + 1), x.B(k + 1, j), sum);
        sum = std::fma(x.A(i, k), x.B(k, j), sum);
      }
      ASSERT_EQ(y[static_cast<size_t>(i * kColumns + j)], sum) << i << "," << j;
    }
  }
}

TEST(MatMulTileTest, SumsContinueWhereTheLastBlockStopped) {
  const Operands<float> x;
  const Aligned<float> panel = Allocate<float>(kK * kWidth), sums = Allocate<float>(kRows * kWidth);
  std::copy(x.b.begin(), x.b.end(), panel.get());
  std::vector<float> whole(kRows * kColumns, 1), blocks = whole;
  Strip s{.a = reinterpret_cast<const char*>(x.a.data()),
          .a_row = kK * 4,
          .a_step = 4,
          .rows = kRows,
          .panel = panel.get(),
          .width = kWidth,
          .columns = kColumns,
          .steps = kK,
          .y = whole.data(),
          .y_row = kColumns,
          .alpha = 2,
          .beta = 0.5F};
  StripF32(s);
  s.steps = 20;
  s.stop = sums.get();
  StripF32(s);
  s.a += 20 * 4;
  s.panel = panel.get() + 20 * kWidth;
  s.steps = kK - 20;
  s.start = sums.get();
  s.stop = nullptr;
  s.y = blocks.data();
  StripF32(s);
  EXPECT_EQ(blocks, whole);
  double want = 0.5;
  for (int64_t k = 0; k < kK; ++k) want += 2.0 * x.A(0, k) * x.B(k, 0);
  EXPECT_NEAR(whole[0], want, 1e-5);
}

TEST(MatMulTileTest, TilesCoverAStripAndTheLastTwoAreAboutEqual) {
  for (int64_t rows = 1; rows < 100; ++rows) {
    int64_t left = rows, previous = 6;
    while (left > 0) {
      const int64_t tile = TileRows(left, 6);
      ASSERT_TRUE(tile >= 1 && tile <= 6 && tile <= left);
      ASSERT_TRUE(left != tile || rows <= 6 || previous - tile <= 1) << rows;
      previous = tile;
      left -= tile;
    }
  }
}

}  // namespace
}  // namespace lorikeet::internal
