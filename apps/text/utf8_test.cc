#include "apps/text/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "apps/text/byte_map.h"
#include "apps/text/nfc.h"

namespace lorikeet::text {
namespace {

TEST(Utf8, EveryScalarValueDecodesToItself) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(c, &text);
    const Utf8Step step = DecodeUtf8(text, 0);
    ASSERT_TRUE(step.valid && step.code_point == c && step.length == static_cast<int>(text.size()))
        << static_cast<uint32_t>(c);
  }
}

// The examples of Unicode 15, section 3.9, tables 3-8 to 3-11.
TEST(Utf8, IllFormedStretchesBecomeOneReplacementPerMaximalSubpart) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
}

TEST(Utf8, AnIncompleteSuffixIsWhatMayYetBecomeACharacter) {
  EXPECT_EQ(IncompleteUtf8Suffix("a"), 0u);
  EXPECT_EQ(IncompleteUtf8Suffix("a\xE4\xB8\xAD"), 0u);
  EXPECT_EQ(IncompleteUtf8Suffix("a\xE4\xB8"), 2u);
  EXPECT_EQ(IncompleteUtf8Suffix("\xF0\x9F\x98"), 3u);
  EXPECT_EQ(IncompleteUtf8Suffix("\xC3"), 1u);
  EXPECT_EQ(IncompleteUtf8Suffix("\xED\xA0"), 0u);  // a surrogate never becomes one
  EXPECT_EQ(IncompleteUtf8Suffix("\xFF"), 0u);
}

TEST(ByteMap, EveryByteIsOneCharacterAndComesBack) {
  for (int b = 0; b < 256; ++b) {
    EXPECT_EQ(CharToByte(ByteToChar(static_cast<uint8_t>(b))), b);
    const std::string bytes(1, static_cast<char>(b));
    EXPECT_EQ(UnmapToken(MapBytes(bytes)), bytes);
  }
}

TEST(ByteMap, KnownCharactersStandForSpaceAndLineFeed) {
  EXPECT_EQ(MapBytes(" a\n"), "\u0120a\u010A");
  EXPECT_EQ(static_cast<uint32_t>(ByteToChar(0xAD)), 0x143u);  // the 68th and last
  EXPECT_EQ(CharToByte(0x144), -1);
  EXPECT_FALSE(UnmapToken("a b").has_value());
}

// UAX #15, figures 3 to 5, and the composition exclusions.
TEST(Nfc, ComposesOrdersAndLeavesExclusionsApart) {
  EXPECT_EQ(NormalizeNfc("e\u0301"), "\u00E9");
  EXPECT_EQ(NormalizeNfc("\u212B"), "\u00C5");
  EXPECT_EQ(NormalizeNfc("\u1E9B\u0323"), "\u1E9B\u0323");
  EXPECT_EQ(NormalizeNfc("d\u0307\u0323"), "\u1E0D\u0307");
  EXPECT_EQ(NormalizeNfc("\u0958"), "\u0915\u093C");
  EXPECT_EQ(NormalizeNfc("\u1112\u1161\u11AB"), "\uD55C");
  EXPECT_EQ(NormalizeNfc("plain"), "plain");
  EXPECT_EQ(NormalizeNfc(""), "");
}

TEST(Nfc, ALongRunOfMarksInTheWrongOrderTakesNoTimeToSpeakOf) {
  std::string text = "a", sorted = "a";
  for (int i = 0; i < 200000; ++i) text += i % 2 == 0 ? "\u0334\u0345" : "\u0345\u0334";
  for (int i = 0; i < 200000; ++i) sorted += "\u0334";
  for (int i = 0; i < 200000; ++i) sorted += "\u0345";
  EXPECT_EQ(NormalizeNfc(text), sorted);
}

}  // namespace
}  // namespace lorikeet::text
