#include "tensor/ops/rope_scaling.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

using Kind = RopeScaling::Kind;

TEST(RopeFrequenciesTest, ArePowersOfTheta) {
  const Tensor f = RopeFrequencies(10000, 8, {}, DType::kF64);
  EXPECT_TRUE(IsClose(f, {1, 0.1, 0.01, 0.001}, 1e-15));
  EXPECT_EQ(RopeFrequencies(500000, 64).dtype(), DType::kF32);
}

TEST(RopeFrequenciesTest, LinearScalingDividesAll) {
  const RopeScaling scaling{.kind = Kind::kLinear, .factor = 4};
  EXPECT_TRUE(IsClose(RopeFrequencies(10000, 8, scaling, DType::kF64), {0.25, 0.025, 0.0025, 0.00025}, 1e-15));
}

TEST(RopeFrequenciesTest, Llama3ScalingKeepsShortWavelengthsAndStretchesLongOnes) {
  const RopeScaling scaling{.kind = Kind::kLlama3, .factor = 8, .original_max_position = 8192};
  const std::vector<double> plain = Values(RopeFrequencies(500000, 128, {}, DType::kF64));
  const std::vector<double> got = Values(RopeFrequencies(500000, 128, scaling, DType::kF64));
  int kept = 0, divided = 0, between = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi / plain[i];
    if (wavelength < 8192 / 4.0) {
      kept += got[i] == plain[i];
    } else if (wavelength > 8192) {
      divided += got[i] == plain[i] / 8;
    } else {
      between += got[i] < plain[i] && got[i] > plain[i] / 8;
    }
  }
  EXPECT_EQ(kept + divided + between, 64);
  EXPECT_GT(kept, 0);
  EXPECT_GT(divided, 0);
  EXPECT_GT(between, 0);
}

// In a context of 64 the pairs turn 10.2, 4.1, 1.6, 0.6 and 0.3 times: the passage ends behind the one that turns once.
TEST(RopeFrequenciesTest, YarnPassesFromKeptToDividedPairByPair) {
  const RopeScaling scaling{.kind = Kind::kYarn, .factor = 4, .original_max_position = 64};
  const std::vector<double> plain = Values(RopeFrequencies(100, 10, {}, DType::kF64));
  const std::vector<double> got = Values(RopeFrequencies(100, 10, scaling, DType::kF64));
  const double divided[] = {0, 1 / 3.0, 2 / 3.0, 1, 1};
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(got[i], plain[i] * (1 - 0.75 * divided[i]), 1e-15) << i;
}

TEST(RopeFrequenciesTest, LongRopeHasARowForEachLength) {
  const RopeScaling scaling{.kind = Kind::kLongRope, .short_factor = {1, 2}, .long_factor = {4, 8}};
  const Tensor f = RopeFrequencies(100, 4, scaling, DType::kF64);
  EXPECT_EQ(f.shape(), (Shape{2, 2}));
  EXPECT_TRUE(IsClose(f, {1, 0.05, 0.25, 0.0125}, 1e-15));
}

TEST(RopeFrequenciesTest, OnlyYarnAndLongRopeSharpenAttention) {
  RopeScaling s{.factor = 32, .original_max_position = 4096};
  for (const Kind kind : {Kind::kNone, Kind::kLinear, Kind::kLlama3}) {
    s.kind = kind;
    EXPECT_EQ(RopeAttentionFactor(s), 1);
  }
  s.kind = Kind::kYarn;
  EXPECT_NEAR(RopeAttentionFactor(s), 1 + 0.1 * std::log(32), 1e-15);
  s.kind = Kind::kLongRope;
  EXPECT_NEAR(RopeAttentionFactor(s), std::sqrt(1 + 5.0 / 12), 1e-15);
  s.attention_factor = 1.25;
  EXPECT_EQ(RopeAttentionFactor(s), 1.25);
  s.attention_factor = 0;
  s.factor = 0.5;
  EXPECT_EQ(RopeAttentionFactor(s), 1);
}

TEST(RopeFrequenciesDeathTest, FactorsOfAnotherSizeAbort) {
  const RopeScaling scaling{.kind = Kind::kLongRope, .short_factor = {1, 2}, .long_factor = {4}};
  EXPECT_DEATH(RopeFrequencies(100, 4, scaling), "RopeFrequencies: 1 factors, expected 2");
}

}  // namespace
}  // namespace lorikeet::tensor
