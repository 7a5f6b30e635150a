#include "tensor/random.h"

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

// Known-answer vectors of the Random123 distribution (kat_vectors, philox4x32 10 rounds).
TEST(RandomTest, PhiloxGivesThePublishedVectors) {
  const PhiloxBlock zero = Philox({.seed = 0, .stream = 0}, 0);
  EXPECT_EQ(zero.v[0], 0x6627e8d5u);
  EXPECT_EQ(zero.v[1], 0xe169c58du);
  EXPECT_EQ(zero.v[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.v[3], 0x9b00dbd8u);
  const PhiloxBlock ones = Philox({.seed = ~0ull, .stream = ~0ull}, ~0ull);
  EXPECT_EQ(ones.v[0], 0x408f276du);
  EXPECT_EQ(ones.v[1], 0x41c83b0eu);
  EXPECT_EQ(ones.v[2], 0xa20bc7c6u);
  EXPECT_EQ(ones.v[3], 0x6d5451fdu);
}

TEST(RandomTest, FoldedKeysDiffer) {
  const RngKey root{.seed = 7};
  EXPECT_NE(root.Fold(0), root);
  EXPECT_NE(root.Fold(0), root.Fold(1));
  EXPECT_NE(root.Fold(0).Fold(1), root.Fold(1).Fold(0));
  EXPECT_EQ(root.Fold(3), (RngKey{.seed = 7}.Fold(3)));
}

TEST(RandomTest, UnitFloatsStayBelowOne) {
  EXPECT_EQ(ToUnitFloat(0), 0.0f);
  EXPECT_LT(ToUnitFloat(~0u), 1.0f);
}

}  // namespace
}  // namespace lorikeet
