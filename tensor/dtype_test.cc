#include "tensor/dtype.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

TEST(DTypeTest, EveryBF16SurvivesTheWayThroughF32) {
  for (uint32_t b = 0; b < 0x10000; ++b) {
    const float x = BF16BitsToF32(static_cast<uint16_t>(b));
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(bf16(x))));
    } else {
      EXPECT_EQ(F32ToBF16Bits(x), b);
    }
  }
}

TEST(DTypeTest, EveryF16AgreesWithTheProcessorsOwnConversion) {
  for (uint32_t b = 0; b < 0x10000; ++b) {
    const float x = F16BitsToF32(static_cast<uint16_t>(b));
    const float hardware = __builtin_ia32_vcvtph2ps(
        (__attribute__((vector_size(16))) short){static_cast<short>(b), 0, 0, 0, 0, 0, 0, 0})[0];
    if (std::isnan(hardware)) {
      EXPECT_TRUE(std::isnan(x));
      EXPECT_TRUE(std::isnan(static_cast<float>(f16(x))));
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(x), std::bit_cast<uint32_t>(hardware)) << b;
      EXPECT_EQ(F32ToF16Bits(x), b);
    }
  }
}

TEST(DTypeTest, F32ToF16RoundsAsTheProcessorDoes) {
  for (uint64_t u = 0; u < 0x100000000ull; u += 9973) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(u));
    if (std::isnan(x)) continue;
    const auto hardware = __builtin_ia32_vcvtps2ph((__attribute__((vector_size(16))) float){x, 0, 0, 0}, 0);
    ASSERT_EQ(F32ToF16Bits(x), static_cast<uint16_t>(hardware[0])) << u;
  }
}

TEST(DTypeTest, BF16RoundsToNearestEvenAndOverflowsToInfinity) {
  EXPECT_EQ(F32ToBF16Bits(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // a tie goes to even
  EXPECT_EQ(F32ToBF16Bits(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(F32ToBF16Bits(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_TRUE(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::max()))));
}

}  // namespace
}  // namespace lorikeet
