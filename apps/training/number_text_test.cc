#include "apps/training/number_text.h"

#include <cmath>
#include <cstdlib>
#include <limits>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

TEST(NumberTextTest, ADoubleComesBackFromItsShortestText) {
  for (double x : {0.1, 1.0 / 3, 2e-4, 1e300, 5e-324, -0.0, 123456789.0, 0.30000000000000004}) {
    EXPECT_EQ(std::strtod(ShortestDouble(x).c_str(), nullptr), x) << ShortestDouble(x);
  }
  EXPECT_EQ(ShortestDouble(0.1), "0.1");
  EXPECT_EQ(ShortestDouble(std::nan("")), "null");
  EXPECT_EQ(ShortestDouble(-std::numeric_limits<double>::infinity()), "null");
}

TEST(NumberTextTest, BytesHaveThreeDigitsAndADecimalUnit) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(999), "999 B");
  EXPECT_EQ(HumanBytes(1000), "1.00 kB");
  EXPECT_EQ(HumanBytes(999600), "1.00 MB");
  EXPECT_EQ(HumanBytes(1080000000), "1.08 GB");
  EXPECT_EQ(HumanBytes(23456789), "23.5 MB");
  EXPECT_EQ(HumanBytes(269030016), "269 MB");
}

TEST(NumberTextTest, CountsDurationsAndThousands) {
  EXPECT_EQ(HumanCount(134515008), "135M");
  EXPECT_EQ(HumanCount(512), "512");
  EXPECT_EQ(HumanDuration(59.4), "59s");
  EXPECT_EQ(HumanDuration(192), "3m12s");
  EXPECT_EQ(HumanDuration(3600 * 5 + 61), "5h01m");
  EXPECT_EQ(HumanDuration(86400 * 2), "2d00h");
  EXPECT_EQ(HumanDuration(std::nan("")), "?");
  EXPECT_EQ(WithThousands(4884480), "4,884,480");
  EXPECT_EQ(WithThousands(-100), "-100");
  EXPECT_EQ(WithThousands(100), "100");
}

}  // namespace
}  // namespace lorikeet
