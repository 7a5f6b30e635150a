#include "apps/text/pretokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace lorikeet::text {
namespace {

std::vector<std::string> Pieces(PretokenizerFamily family, absl::string_view text) {
  std::vector<absl::string_view> pieces;
  Pretokenizer(family).Split(text, &pieces);
  return {pieces.begin(), pieces.end()};
}

using Strings = std::vector<std::string>;

TEST(Pretokenizer, Gpt2LeavesTheLastSpaceToTheNextWord) {
  EXPECT_EQ(Pieces(PretokenizerFamily::kGpt2, "x   y's 12ab!  "),
            (Strings{"x", "  ", " y", "'s", " 12", "ab", "!", "  "}));
}

TEST(Pretokenizer, SmolLmCutsEveryDigitOff) {
  EXPECT_EQ(Pieces(PretokenizerFamily::kSmolLm, "a 12  3\u0663"), (Strings{"a", " ", "1", "2", "  ", "3", "\u0663"}));
}

TEST(Pretokenizer, Llama3TakesThreeDigitsAndAnyCaseOfContraction) {
  EXPECT_EQ(Pieces(PretokenizerFamily::kLlama3, "I'LL 12345\n\n\"q"),
            (Strings{"I", "'LL", " ", "123", "45", "\n\n", "\"q"}));
}

TEST(Pretokenizer, Qwen35KeepsMarksWithLetters) {
  EXPECT_EQ(Pieces(PretokenizerFamily::kQwen2, "e\u0301a"), (Strings{"e", "\u0301a"}));
  EXPECT_EQ(Pieces(PretokenizerFamily::kQwen35, "e\u0301a"), (Strings{"e\u0301a"}));
}

TEST(Pretokenizer, TekkenAndGpt4oCutWhereCapitalsFollowSmallLetters) {
  EXPECT_EQ(Pieces(PretokenizerFamily::kTekken, "camelCase HTMLPage's 123\n/x"),
            (Strings{"camel", "Case", " HTMLPage", "'s", " ", "1", "2", "3", "\n", "/x"}));
  EXPECT_EQ(Pieces(PretokenizerFamily::kGpt4o, "camelCase HTMLPage'S 1234 =//\nx"),
            (Strings{"camel", "Case", " HTMLPage'S", " ", "123", "4", " =//\n", "x"}));
  // Letters without case, and those that Unicode 16 added to small ones and capitals, as U+1C8A and U+1C89.
  EXPECT_EQ(Pieces(PretokenizerFamily::kTekken, "a\u4E2DB\u1C8A\u1C89x"), (Strings{"a\u4E2D", "B\u1C8A", "\u1C89x"}));
}

TEST(Pretokenizer, SpaceIsUnicodesWhiteSpace) {
  EXPECT_EQ(Pieces(PretokenizerFamily::kGpt2, "a\u0085\u3000b"), (Strings{"a", "\u0085", "\u3000", "b"}));
  EXPECT_EQ(Pieces(PretokenizerFamily::kGpt2, "\u180E\u200B"), (Strings{"\u180E\u200B"}));  // symbols
}

class LongRunTest : public testing::TestWithParam<PretokenizerFamily> {};

TEST_P(LongRunTest, RunsOfHalfAMegabyteAreCutWithoutLimits) {
  for (const char* unit : {"a", " ", "\n", "0", "!", "\u4E2D", " \n", "'s", "\u0301", "a "}) {
    std::string text;
    while (text.size() < (1u << 19)) text += unit;
    text += "x";
    std::string joined;
    for (const std::string& piece : Pieces(GetParam(), text)) joined += piece;
    EXPECT_EQ(joined, text) << "\"" << unit << "\"";
  }
}

INSTANTIATE_TEST_SUITE_P(Families, LongRunTest,
                         testing::Values(PretokenizerFamily::kGpt2, PretokenizerFamily::kSmolLm,
                                         PretokenizerFamily::kLlama3, PretokenizerFamily::kQwen2,
                                         PretokenizerFamily::kQwen35, PretokenizerFamily::kTekken,
                                         PretokenizerFamily::kGpt4o),
                         [](const auto& info) { return std::string(FamilyName(info.param)); });

}  // namespace
}  // namespace lorikeet::text
