#include "quant/code_maps.h"

#include <bit>
#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "quant/sha256_for_test.h"

namespace lorikeet {
namespace {

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

TEST(CodeMapsTest, Sha256KnowsThePublishedExamples) {
  const std::string abc = "abc";
  EXPECT_EQ(Sha256(absl::MakeConstSpan(abc.data(), 3)),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256(absl::MakeConstSpan(abc.data(), 0)),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(CodeMapsTest, Nf4CodesHaveTheBitsOfBitsandbytes) {
  const uint32_t want[16] = {0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f,
                             0xbdba7871, 0x00000000, 0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a,
                             0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000};
  for (int c = 0; c < 16; ++c) EXPECT_EQ(Bits(kNf4Codes[c]), want[c]) << c;
}

TEST(CodeMapsTest, Nf4ThresholdsAreTheMidpointsToTheLastBit) {
  const uint32_t want[15] = {0xbf591cd8, 0xbf1c5270, 0xbeeb8480, 0xbeadea76, 0xbe703cec,
                             0xbe0d38bc, 0xbd3a7871, 0x3d22faff, 0x3df64862, 0x3e5067e0,
                             0x3e9582d4, 0x3ec753f9, 0x3f006d04, 0x3f248daf, 0x3f5c89da};
  for (int c = 0; c < 15; ++c) {
    EXPECT_EQ(Bits(kNf4Thresholds[c]), want[c]) << c;
    EXPECT_EQ((kNf4Codes[c] + kNf4Codes[c + 1]) / 2, kNf4Thresholds[c]) << c;
  }
}

TEST(CodeMapsTest, Fp4CodesHaveTheBitsOfBitsandbytes) {
  const uint32_t want[8] = {0x00000000, 0x3baaaaab, 0x3f2aaaab, 0x3f800000,
                            0x3eaaaaab, 0x3f000000, 0x3e2aaaab, 0x3e800000};
  EXPECT_EQ(Bits(kFp4Codes[8]), 0u);
  for (int c = 0; c < 8; ++c) {
    EXPECT_EQ(Bits(kFp4Codes[c]), want[c]) << c;
    EXPECT_EQ(kFp4Codes[c + 8], -kFp4Codes[c]) << c;
  }
}

TEST(CodeMapsTest, Fp4ThresholdsLieBetweenTheMagnitudesTheyPart) {
  for (int k = 0; k < 7; ++k) {
    const float below = kFp4Codes[kFp4Patterns[k]], above = kFp4Codes[kFp4Patterns[k + 1]];
    EXPECT_NEAR(kFp4Thresholds[k], (below + above) / 2, 1e-6) << k;
  }
}

TEST(CodeMapsTest, DynamicMapsHaveThePublishedDigests) {
  EXPECT_EQ(Sha256(absl::MakeConstSpan(SignedDynamicMap())),
            "e732639a65f497b4ad684bb166a4467708255edd5207757de8b8f0c7e1fda89c");
  EXPECT_EQ(Sha256(absl::MakeConstSpan(UnsignedDynamicMap())),
            "305f002cc11278fb769d13b25b9fd0c7c83c8402c40a878fe086f4039fde6398");
}

TEST(CodeMapsTest, DynamicMapsHaveTheirZeroAndEndsInPlace) {
  const auto& with_sign = SignedDynamicMap();
  EXPECT_EQ(Bits(with_sign[0]), 0xbf7e3333u);
  EXPECT_EQ(with_sign[127], 0);
  EXPECT_EQ(Bits(with_sign[128]), 0x3513a3b7u);
  EXPECT_EQ(with_sign[255], 1);
  EXPECT_EQ(UnsignedDynamicMap()[0], 0);
  EXPECT_EQ(Bits(UnsignedDynamicMap()[1]), 0x34ae7baau);
  EXPECT_EQ(UnsignedDynamicMap()[255], 1);
}

}  // namespace
}  // namespace lorikeet
