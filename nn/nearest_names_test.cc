#include "nn/nearest_names.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

using Names = std::vector<std::string>;

TEST(NearestNamesTest, NearestComeFirst) {
  EXPECT_EQ(NearestNames("q_prj", {"down_proj", "k_proj", "q_proj"}), (Names{"q_proj", "k_proj"}));
}

TEST(NearestNamesTest, AtMostTheLimitAndEachOnce) {
  const Names candidates = {"up_proj", "q_proj", "k_proj", "v_proj", "o_proj", "q_proj"};
  EXPECT_EQ(NearestNames("q_proj", candidates, 2), (Names{"q_proj", "k_proj"}));
  EXPECT_EQ(NearestNames("q_proj", candidates, 0), Names{});
}

TEST(NearestNamesTest, NothingFarAwayIsOffered) {
  EXPECT_EQ(NearestNames("lm_head", {"q_proj", "down_proj"}), Names{});
  EXPECT_EQ(NearestNames("ab", {"cd", "abcde"}), Names{"cd"});  // two edits are near, even for a short name
  EXPECT_EQ(NearestNames("", {"a", "abc"}), Names{"a"});
  EXPECT_EQ(NearestNames("x", {}), Names{});
}

TEST(DidYouMeanTest, IsAHintOrNothing) {
  EXPECT_EQ(DidYouMean("q_prj", {"q_proj", "k_proj"}), "; did you mean q_proj, k_proj?");
  EXPECT_EQ(DidYouMean("lm_head", {"q_proj"}), "");
}

}  // namespace
}  // namespace lorikeet
