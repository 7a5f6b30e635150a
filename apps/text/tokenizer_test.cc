#include "apps/text/tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/bpe_trainer.h"
#include "apps/text/byte_map.h"

namespace lorikeet::text {
namespace {

using Ids = std::vector<int32_t>;

BpeSpec SmallSpec() {
  BpeTrainer trainer({.vocab_size = 300, .special_tokens = {"<|end|>", "<|start|>"}});
  trainer.Add("the theme of the them \u4e2d\u6587 \u4e2d the <| start |>");
  return trainer.Train();
}

Tokenizer Small() { return *Tokenizer::Create(SmallSpec()); }

// The definition: join the lowest-ranked neighbours, the leftmost first, by looking at all of them every time.
Ids NaiveBpe(const BpeSpec& spec, const std::string& piece) {
  Ids ids;
  for (const char b : piece) {
    for (size_t id = 0; id < spec.vocab.size(); ++id) {
      if (spec.vocab[id] == MapBytes(std::string(1, b))) ids.push_back(static_cast<int32_t>(id));
    }
  }
  for (size_t rank = 0; rank < spec.merges.size();) {
    const Merge& m = spec.merges[rank];
    size_t i = 0;
    while (i + 1 < ids.size() && !(ids[i] == m.left && ids[i + 1] == m.right)) ++i;
    if (i + 1 >= ids.size()) {
      ++rank;
      continue;
    }
    ids[i] = m.result;
    ids.erase(ids.begin() + i + 1);
    rank = 0;
  }
  return ids;
}

TEST(Tokenizer, ShortAndLongPiecesFollowTheDefinitionOfBpe) {
  const BpeSpec spec = SmallSpec();
  const Tokenizer tokenizer = Small();
  for (size_t length = 1; length < 80; ++length) {
    std::string piece;
    for (size_t i = 0; i < length; ++i) piece.push_back("them"[(i * i + i / 3 + length) % 4]);
    EXPECT_EQ(tokenizer.Encode(piece), NaiveBpe(spec, piece)) << piece;
  }
}

TEST(Tokenizer, SpecialTextInUserDataStaysTextUnlessAllowed) {
  const Tokenizer tokenizer = Small();
  const std::string text = "the<|end|>";
  const Ids plain = tokenizer.Encode(text), special = tokenizer.Encode(text, {.allow_special = true});
  EXPECT_EQ(special.back(), 0);
  for (const int32_t id : plain) EXPECT_FALSE(tokenizer.IsSpecial(id));
  EXPECT_EQ(tokenizer.Decode(plain), text);
  EXPECT_EQ(tokenizer.Decode(special), text);
  EXPECT_EQ(tokenizer.Decode(special, /*skip_special=*/true), "the");
}

TEST(Tokenizer, APartMayNameControlTokensThatItsNeighbourMayNot) {
  const Tokenizer tokenizer = Small();
  const Ids ids = tokenizer.EncodeParts({{"<|start|>the", true}, {"me <|end|>", false}, {"<|end|>", true}});
  Ids want = {1};
  const Ids middle = tokenizer.Encode("theme <|end|>");
  want.insert(want.end(), middle.begin(), middle.end());
  want.push_back(0);
  EXPECT_EQ(ids, want);
  EXPECT_EQ(tokenizer.EncodeParts({{"<|en", true}, {"d|>", true}}), tokenizer.Encode("<|end|>"));
}

TEST(Tokenizer, EmptyTextHasNoTokensAndNulIsAByte) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Encode(""), Ids());
  EXPECT_EQ(tokenizer.Decode({}), "");
  const std::string nul("a\0b", 3);
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(nul)), nul);
}

TEST(Tokenizer, IllFormedTextIsEncodedAsReplacementCharacters) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Encode("a\xFF\xE4\xB8"), tokenizer.Encode("a\uFFFD\uFFFD"));
}

TEST(Tokenizer, PrefixAndSuffixStandAroundTheTextOnlyWhenAskedFor) {
  BpeSpec spec = SmallSpec();
  spec.prefix_ids = {1};
  spec.suffix_ids = {0};
  const Tokenizer tokenizer = *Tokenizer::Create(spec);
  const Ids bare = tokenizer.Encode("x"), full = tokenizer.Encode("x", {.add_prefix_and_suffix = true});
  EXPECT_EQ(bare.size(), 1u);
  EXPECT_EQ(full, (Ids{1, bare[0], 0}));
}

TEST(StreamDecoder, TheStreamJoinedIsDecodesAnswerAtEveryCut) {
  const Tokenizer tokenizer = Small();
  const std::string bytes = "a\u4e2d\U0001F600\xFF\xE4\xB8z\xF0\x9F";
  Ids ids;  // one token a byte
  for (const char b : bytes) {
    for (int32_t id = 0; id < 258; ++id) {
      if (tokenizer.TokenBytes(id) == std::string(1, b)) ids.push_back(id);
    }
  }
  ASSERT_EQ(ids.size(), bytes.size());
  StreamDecoder decoder(&tokenizer);
  std::string joined;
  for (const int32_t id : ids) joined += decoder.Push(id);
  joined += decoder.Finish();
  EXPECT_EQ(joined, tokenizer.Decode(ids));
}

TEST(StreamDecoder, HoldsACharacterBackUntilItIsWhole) {
  const Tokenizer tokenizer = Small();
  const std::string bytes = "\u4e2d";
  StreamDecoder decoder(&tokenizer);
  std::vector<std::string> pushed;
  for (const char b : bytes) {
    for (int32_t id = 2; id < 258; ++id) {
      if (tokenizer.TokenBytes(id) == std::string(1, b)) pushed.push_back(decoder.Push(id));
    }
  }
  EXPECT_EQ(pushed, (std::vector<std::string>{"", "", "\u4e2d"}));
}

TEST(Tokenizer, IdsThatAreNoTokensDecodeToNothing) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Decode({-1, 1 << 30, static_cast<int32_t>(tokenizer.num_tokens())}), "");
}

TEST(Tokenizer, APieceOf100KilobytesIsEncodedAtOnceAndComesBack) {
  const Tokenizer tokenizer = Small();
  std::string text;
  for (int64_t i = 0; i < 100000; ++i) text.push_back("them"[(i * i + i / 3) % 4]);
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text);
}

void ExpectRefused(const BpeSpec& spec, const char* reason) {
  const absl::Status status = Tokenizer::Create(spec).status();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find(reason), absl::string_view::npos) << status;
}

TEST(Tokenizer, ASpecWithIdsOutOfPlaceIsRefused) {
  BpeSpec spec = SmallSpec();
  spec.added.push_back({.id = static_cast<int32_t>(spec.vocab.size()) + 1, .content = "<gap>"});
  ExpectRefused(spec, "<gap>");
  spec = SmallSpec();
  spec.eos_id = 100000;
  ExpectRefused(spec, "EOS");
  spec = SmallSpec();
  spec.merges[0].result = 5;
  ExpectRefused(spec, "merge 0");
  spec = SmallSpec();
  spec.padded_vocab_size = 10;
  ExpectRefused(spec, "10");
  ExpectRefused(BpeSpec(), "empty");
}

}  // namespace
}  // namespace lorikeet::text
