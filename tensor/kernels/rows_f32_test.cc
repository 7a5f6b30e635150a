#include "tensor/kernels/rows_f32.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"

namespace lorikeet::internal {
namespace {

// By definition: the upper half of the bits, rounded to nearest even; NaN quiet.
uint16_t Rounded(uint32_t bits) {
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  const uint32_t upper = bits >> 16, lower = bits & 0xffff;
  return static_cast<uint16_t>(upper + (lower > 0x8000 || (lower == 0x8000 && upper % 2 == 1)));
}

TEST(RowsF32Test, EveryUpperHalfNarrowsAsDefinedAndWidensBack) {
  for (const uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
    std::vector<float> x(1 << 16);
    for (uint32_t upper = 0; upper < x.size(); ++upper) {
      const uint32_t bits = upper << 16 | lower;
      std::memcpy(&x[upper], &bits, sizeof bits);
    }
    std::vector<bf16> y(x.size());
    NarrowBF16(x.data(), static_cast<int64_t>(x.size()), y.data());
    int64_t wrong = 0;
    for (uint32_t upper = 0; upper < x.size(); ++upper) wrong += y[upper].bits != Rounded(upper << 16 | lower);
    EXPECT_EQ(wrong, 0) << lower;
    std::vector<float> back(x.size());
    WidenBF16(y.data(), static_cast<int64_t>(y.size()), back.data());
    for (size_t i = 0; i < y.size(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, &back[i], sizeof bits);
      wrong += bits != uint32_t{y[i].bits} << 16;
    }
    EXPECT_EQ(wrong, 0) << lower;
  }
}

TEST(RowsF32Test, NothingIsWrittenPastTheEndAndADenormalAnywhereKeepsItsValue) {
  for (int64_t n = 0; n < 200; ++n) {
    for (const int64_t denormal : {int64_t{-1}, n / 2, n - 1}) {
      std::vector<float> x(static_cast<size_t>(n), 1.5f);
      if (denormal >= 0 && denormal < n) x[static_cast<size_t>(denormal)] = 1e-39f;
      std::vector<bf16> y(static_cast<size_t>(n) + 1, bf16(7.0f));
      NarrowBF16(x.data(), n, y.data());
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i].bits, bf16(x[i]).bits) << n << " " << i;
      EXPECT_EQ(static_cast<float>(y[static_cast<size_t>(n)]), 7.0f) << n;
    }
  }
}

TEST(RowsF32Test, AllFiniteFindsWhatIsNot) {
  for (const float bad : {__builtin_nanf(""), __builtin_inff(), -__builtin_inff()}) {
    for (size_t at = 0; at < 70; ++at) {
      std::vector<float> x(70, -3.0f);
      EXPECT_TRUE(AllFinite(x.data(), 70));
      x[at] = bad;
      EXPECT_FALSE(AllFinite(x.data(), 70)) << at;
    }
  }
}

}  // namespace
}  // namespace lorikeet::internal
