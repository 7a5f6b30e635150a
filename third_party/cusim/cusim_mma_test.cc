// The emulated instructions against plain loops over the matrices they are about.
#include "third_party/cusim/cusim_mma.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace {

// Small integers: exact in both 16-bit floats, and so are their sums in f32.
float Value(int i, int step) { return static_cast<float>(i * step % 17 - 8); }

// c [16,8] = a [16,16] * b [16,8], a by rows of k and b by rows of k or, transposed, by columns.
template <bool kF16, bool kRowsOfK>
__global__ void MmaKernel(const uint16_t* a, const uint16_t* b, float* c) {
  CUDA_SHARED(uint16_t[16 * 16], as);
  CUDA_SHARED(uint16_t[16 * 8], bs);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 32; i += 32) CopyAsync16(&as[i * 8], a + i * 8);
  if (lane < 16) CopyAsync16(&bs[lane * 8], b + lane * 8);
  CommitCopies();
  WaitForCopies<0>();
  __syncthreads();
  uint32_t ar[4], br[2];
  float cr[4] = {};
  LoadMatrix<false>(ar, &as[(lane % 16) * 16 + lane / 16 * 8]);
  if constexpr (kRowsOfK) {
    LoadMatrix<true>(br, &bs[lane % 16 * 8]);
  } else {
    LoadMatrix<false>(br, &bs[lane % 8 * 16 + lane / 8 % 2 * 8]);
  }
  if constexpr (kF16) {
    MmaF16(cr, ar, br[0], br[1]);
  } else {
    MmaBF16(cr, ar, br[0], br[1]);
  }
  for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = cr[i];
}

uint16_t Bits(bool f16, float x) { return static_cast<uint16_t>(f16 ? PackF16(x, 0) : PackBF16(x, 0)); }

template <bool kF16, bool kRowsOfK>
void ExpectProduct() {
  alignas(16) uint16_t a[16 * 16], b[16 * 8];
  float c[16 * 8];
  for (int i = 0; i < 256; ++i) a[i] = Bits(kF16, Value(i, 7));
  for (int k = 0; k < 16; ++k) {
    for (int n = 0; n < 8; ++n) b[kRowsOfK ? k * 8 + n : n * 16 + k] = Bits(kF16, Value(k * 8 + n, 5));
  }
  ASSERT_EQ(Launch(MmaKernel<kF16, kRowsOfK>, 1, 32, 0, nullptr, a, b, c), cudaSuccess);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      float want = 0;
      for (int k = 0; k < 16; ++k) want += Value(m * 16 + k, 7) * Value(k * 8 + n, 5);
      EXPECT_EQ(c[m * 8 + n], want) << m << " " << n;
    }
  }
}

TEST(CusimMma, MultipliesBothDtypesFromEitherLayout) {
  ExpectProduct<false, false>();
  ExpectProduct<false, true>();
  ExpectProduct<true, false>();
  ExpectProduct<true, true>();
}

template <bool kTransposed, int kCount>
__global__ void LoadKernel(const uint16_t* x, uint32_t* out) {
  uint32_t r[kCount];
  LoadMatrix<kTransposed>(r, x + threadIdx.x % (8 * kCount) * 8);
  for (int m = 0; m < kCount; ++m) out[m * 32 + threadIdx.x] = r[m];
}

template <bool kTransposed, int kCount>
void ExpectMatrices() {
  alignas(16) uint16_t x[4 * 64];
  for (int i = 0; i < 256; ++i) x[i] = static_cast<uint16_t>(i);
  uint32_t out[kCount * 32];
  Launch(LoadKernel<kTransposed, kCount>, 1, 32, 0, nullptr, x, out);
  for (int m = 0; m < kCount; ++m) {
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const uint32_t low = static_cast<uint32_t>(m * 64 + (kTransposed ? 16 * t + g : 8 * g + 2 * t));
      EXPECT_EQ(out[m * 32 + lane], low | (low + (kTransposed ? 8 : 1)) << 16) << m << " " << lane;
    }
  }
}

TEST(CusimMma, LoadsMatricesStraightAndTransposed) {
  ExpectMatrices<false, 1>();
  ExpectMatrices<true, 1>();
  ExpectMatrices<false, 2>();
  ExpectMatrices<true, 2>();
  ExpectMatrices<false, 4>();
  ExpectMatrices<true, 4>();
}

// Reads before, between and after the waits for two groups.
__global__ void CopyKernel(const unsigned char* x, unsigned char* out) {
  CUDA_SHARED(unsigned char[64], s);
  CopyAsync16(&s[0], x);
  CommitCopies();
  CopyAsync16(&s[16], x + 16, 5);
  CommitCopies();
  for (int i = 0; i < 32; ++i) out[i] = s[i];
  WaitForCopies<1>();
  for (int i = 0; i < 32; ++i) out[32 + i] = s[i];
  WaitForCopies<0>();
  for (int i = 0; i < 32; ++i) out[64 + i] = s[i];
}

TEST(CusimMma, CopiesWhenWaitedForAndFillsWithZeros) {
  alignas(16) unsigned char x[32];
  unsigned char out[96];
  for (int i = 0; i < 32; ++i) x[i] = static_cast<unsigned char>(i + 1);
  Launch(CopyKernel, 2, 1, 0, nullptr, x, out);
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], 0xff) << i;
    EXPECT_EQ(out[32 + i], i < 16 ? i + 1 : 0xff) << i;
    EXPECT_EQ(out[64 + i], i < 21 ? i + 1 : 0) << i;
  }
}

TEST(CusimMma, PacksWithRoundingToNearestEven) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(PackBF16(1.0f, -2.0f), 0xc0003f80u);
  EXPECT_EQ(PackBF16(1.00390625f, 1.01171875f), 0x3f823f80u);  // ties
  EXPECT_EQ(PackBF16(infinity, std::nanf("")), 0x7fff7f80u);
  EXPECT_EQ(PackF16(1.0f, -2.0f), 0xc0003c00u);
  EXPECT_EQ(PackF16(65519.0f, 65520.0f), 0x7c007bffu);
  EXPECT_EQ(PackF16(0x1p-24f, 0x1p-25f), 0x00000001u);
  EXPECT_EQ(PackF16(0x1.ff8p-15f, 0x1.ffcp-15f), 0x040003ffu);  // the tie at the end of the denormals carries
  EXPECT_EQ(PackF16(-infinity, std::nanf("")), 0x7ffffc00u);
}

__global__ void TooFewLanes() {
  float c[4] = {};
  const uint32_t a[4] = {};
  MmaBF16(c, a, 0, 0);
}
TEST(CusimMmaDeathTest, NeedsAWholeWarp) { EXPECT_DEATH(Launch(TooFewLanes, 1, 16, 0, nullptr), "warp of 16 lanes"); }

__global__ void Odd(const char* x) {
  CUDA_SHARED(char[64], s);
  CopyAsync16(&s[4], x);
}
TEST(CusimMmaDeathTest, CopiesFromMultiplesOf16Bytes) {
  alignas(16) const char x[16] = {};
  EXPECT_DEATH(Launch(Odd, 1, 1, 0, nullptr, x), "cp.async");
}

}  // namespace
