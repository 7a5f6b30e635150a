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
  StripBF16Avx512({.a = reinterpret_cast<const char*>(x.a.data()),
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

// a strip of bf16: y = 2 * gain * (a*b + u*v) + y / 2, of f32 or bf16.
struct BF16Problem {
  int64_t rows = 45, steps = 35, u_steps = 8, width = 48, columns = 43;
  bool packed = false, narrow = false;
  std::vector<bf16> a, turned, u;
  Aligned<bf16> panel;
  std::vector<float> gain, y;
  std::vector<bf16> y16;

  void Fill() {
    std::mt19937 bits(3);
    const auto fill = [&](std::vector<bf16>& x, int64_t n) {
      for (int64_t i = 0; i < n; ++i) x.push_back(bf16(Random(bits)));
    };
    fill(a, rows * steps * 2);
    fill(u, rows * u_steps * 2);
    panel = Allocate<bf16>((steps + u_steps) * width * 2);
    for (int64_t i = 0; i < (steps + u_steps) * width * 2; ++i) panel[i] = bf16(Random(bits));
    turned.resize(a.size());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < 2 * steps; ++k)
        turned[static_cast<size_t>(k / 2 * rows * 2 + r * 2 + k % 2)] = a[static_cast<size_t>(r * steps * 2 + k)];
    }
    for (int64_t j = 0; j < columns; ++j) gain.push_back(1 + 0.25F * static_cast<float>(j % 3));
    Reset();
  }
  void Reset() {
    y.assign(static_cast<size_t>(rows * columns), 0.5F);
    y16.assign(y.size(), bf16(0.5F));
  }
  // Of rows [begin, end).
  Strip Of(int64_t begin, int64_t end) {
    Strip s;
    s.a = reinterpret_cast<const char*>(packed ? turned.data() + begin * 2 : a.data() + begin * steps * 2);
    s.a_row = packed ? 4 : steps * 4;
    s.a_step = packed ? rows * 4 : 4;
    s.rows = end - begin;
    s.panel = panel.get();
    s.width = width;
    s.columns = columns;
    s.steps = steps;
    s.u = reinterpret_cast<const char*>(u.data() + begin * u_steps * 2);
    s.u_row = u_steps * 4;
    s.u_step = 4;
    s.u_steps = u_steps;
    s.y = narrow ? static_cast<void*>(y16.data() + begin * columns) : y.data() + begin * columns;
    s.y_row = columns;
    s.y_bf16 = narrow;
    s.alpha = 2;
    s.beta = 0.5F;
    s.gain = gain.data();
    return s;
  }
  double Want(int64_t r, int64_t j) const {
    double sum = 0;
    for (int64_t k = 0; k < 2 * (steps + u_steps); ++k) {
      const bool first = k < 2 * steps;
      const float left =
          first ? a[static_cast<size_t>(r * steps * 2 + k)] : u[static_cast<size_t>(r * u_steps * 2 + k - 2 * steps)];
      sum += static_cast<double>(left) * static_cast<float>(panel[k / 2 * width * 2 + j * 2 + k % 2]);
    }
    return 2 * gain[static_cast<size_t>(j)] * sum + 0.25;
  }
};

void ExpectDefinition(void (*strip)(const Strip&)) {
  for (const bool packed : {false, true}) {
    for (const bool narrow : {false, true}) {
      for (const int64_t rows : {1, 15, 16, 17, 32, 45}) {
        for (const int64_t width : {16, 32, 48, 64}) {
          BF16Problem p;
          p.rows = rows;
          p.width = width;
          p.columns = width - 5;
          p.packed = packed;
          p.narrow = narrow;
          p.Fill();
          strip(p.Of(0, rows));
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t j = 0; j < p.columns; ++j) {
              const size_t at = static_cast<size_t>(r * p.columns + j);
              const double got = narrow ? static_cast<float>(p.y16[at]) : p.y[at], want = p.Want(r, j);
              ASSERT_TRUE(std::abs(got - want) <= (narrow ? 4e-3 : 1e-5) * (1 + std::abs(want)))
                  << rows << " rows, " << width << " wide: " << got << " for " << want;
            }
          }
        }
      }
    }
  }
}

TEST(MatMulTileTest, TheBF16DotComputesWhatTheDefinitionSays) {
  if (!HaveBF16Dot()) GTEST_SKIP() << "this processor has no bf16 dot instruction";
  ExpectDefinition(StripBF16Avx512);
}

TEST(MatMulTileTest, AmxComputesWhatTheDefinitionSays) {
  if (!HaveAmx()) GTEST_SKIP() << "no AMX that this process may use";
  ExpectDefinition(StripBF16Amx);
}

TEST(MatMulTileTest, AmxHasTheSameBitsHoweverRowsAreDivided) {
  if (!HaveAmx()) GTEST_SKIP() << "no AMX that this process may use";
  BF16Problem p;
  p.Fill();
  StripBF16Amx(p.Of(0, p.rows));
  const std::vector<float> whole = p.y;
  for (const bool packed : {false, true}) {
    p.packed = packed;
    for (const int64_t rows : {1, 7, 16, 20, 33}) {
      p.Reset();
      for (int64_t r = 0; r < p.rows; r += rows) StripBF16Amx(p.Of(r, std::min(r + rows, p.rows)));
      EXPECT_EQ(p.y, whole) << rows;
    }
  }
}

// Intel's manual, TDPBF16PS: of 32 k, the even ones' products are added up, the odd ones', then both to the sum.
TEST(MatMulTileTest, AmxAddsEvenAndOddProductsApart) {
  if (!HaveAmx()) GTEST_SKIP() << "no AMX that this process may use";
  BF16Problem p;
  p.u_steps = 0;
  p.Fill();
  Strip s = p.Of(0, p.rows);
  const Aligned<float> sums = Allocate<float>(p.rows * p.width);
  s.stop = sums.get();
  StripBF16Amx(s);
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t j = 0; j < p.width; ++j) {
      float sum = 0;
      for (int64_t begin = 0; begin < p.steps; begin += 16) {
        float parts[2] = {0, 0};
        for (int64_t k = 2 * begin; k < 2 * std::min(begin + 16, p.steps); ++k) {
          const float product = static_cast<float>(p.a[static_cast<size_t>(r * p.steps * 2 + k)]) *
                                p.panel[k / 2 * p.width * 2 + j * 2 + k % 2];
          parts[k % 2] += product;  // exact, so that it does not matter whether it is fused
        }
        sum += parts[0] + parts[1];
      }
      ASSERT_EQ(sums[r * p.width + j], sum) << r << "," << j;
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
