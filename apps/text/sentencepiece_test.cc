#include "apps/text/sentencepiece.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/gguf_spec.h"
#include "apps/text/tokenizer.h"

namespace lorikeet::text {
namespace {

using Ids = std::vector<int32_t>;
using Prefix = SentencePieceRules::Prefix;

// <unk> <s> </s>, the bytes from id 3, then characters and words by falling score. "<s>" and "</s>" can be put together
// from others, as in real vocabularies.
GgufTokenizerMetadata SmallGguf() {
  GgufTokenizerMetadata m;
  m.architecture = "llama";
  m.model = "llama";
  m.tokens = {"<unk>", "<s>", "</s>"};
  m.token_type = {2, 3, 3};
  for (int b = 0; b < 256; ++b) {
    m.tokens.push_back(ByteToken(static_cast<uint8_t>(b)));
    m.token_type.push_back(6);
  }
  for (const char* token : {"▁▁", "▁t", "he", "▁the", "s>", "<", ">", "/", "</", "▁", "t", "h", "e", "s", "m", "é"}) {
    m.tokens.push_back(token);
    m.token_type.push_back(1);
  }
  for (size_t i = 0; i < m.tokens.size(); ++i) m.scores.push_back(i < 259 ? 0 : 258.0 - static_cast<double>(i));
  m.bos_token_id = 1;
  m.eos_token_id = 2;
  m.unknown_token_id = 0;
  return m;
}

Tokenizer Make(Prefix prefix = Prefix::kFirst, bool in_normalizer = false) {
  BpeSpec spec = *TokenizerSpecFromGguf(SmallGguf());
  spec.sentencepiece->prefix = prefix;
  spec.sentencepiece->in_normalizer = in_normalizer;
  return *Tokenizer::Create(std::move(spec));
}

// The texts of the tokens, between bars.
std::string Pieces(const Tokenizer& tokenizer, const Ids& ids) {
  std::string out;
  for (const int32_t id : ids) absl::StrAppend(&out, tokenizer.spec().TokenText(id), "|");
  return out;
}

TEST(SentencePiece, AByteTokenIsTwoHexadecimalDigitsAndNothingElse) {
  for (int b = 0; b < 256; ++b) EXPECT_EQ(ByteOfToken(ByteToken(static_cast<uint8_t>(b))), b);
  EXPECT_EQ(ByteToken(10), "<0x0A>");
  EXPECT_EQ(ByteOfToken("<0x0a>"), 10);
  for (const char* text :
       {"", "<0x>", "<0xA>", "<0x0G>", "<0x+A>", "<0x 1>", "<0x0AA>", "0x0A>>", "<0X0A>", "<0x0A)"}) {
    EXPECT_EQ(ByteOfToken(text), -1) << text;
  }
}

TEST(SentencePiece, BytesAreTextOnlyIfAllOfThemAre) {
  EXPECT_EQ(TextOfBytes("\xE4\xB8\xAD"), "中");
  EXPECT_EQ(TextOfBytes("\xE4\xB8\xAD\xFF"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(TextOfBytes(""), "");
}

TEST(SentencePiece, WordsBeginWithTheirMark) {
  std::vector<absl::string_view> words;
  const std::string text = MarkSpaces("a  bc ");
  SplitAtMarks(text, &words);
  EXPECT_EQ(words, (std::vector<absl::string_view>{"a", "▁", "▁bc", "▁"}));
  EXPECT_EQ(UnmarkSpaces(text), "a  bc ");
}

TEST(SentencePiece, MergesFollowTheScoresThenTheLongerParts) {
  const std::vector<std::string> vocab = {"a", "b", "c", "ab", "bc", "abc", "ca"};
  const absl::StatusOr<std::vector<Merge>> merges = MergesByScore(vocab, {0, 0, 0, -3, -2, -1, -2});
  ASSERT_TRUE(merges.ok()) << merges.status();
  std::string lines;
  for (const Merge& m : *merges) absl::StrAppend(&lines, vocab[m.left], " ", vocab[m.right], "\n");
  EXPECT_EQ(lines, "ab c\na bc\nb c\nc a\na b\n");
  EXPECT_FALSE(MergesByScore(vocab, {0, 0}).ok());
  EXPECT_FALSE(MergesByScore({"a"}, {std::numeric_limits<double>::quiet_NaN()}).ok());
}

TEST(SentencePiece, MergesLeadBackToScoresThatImplyThem) {
  BpeSpec spec;
  spec.vocab = {"a", "b", "c", "ab", "bc", "abc", "ca"};
  spec.merges = *MergesByScore(spec.vocab, {0, 0, 0, -3, -2, -1, -2.5});
  EXPECT_EQ(*ScoresOfMerges(spec), (std::vector<double>{-5, -5, -5, -4, -2, -1, -3}));
  std::swap(spec.merges[0], spec.merges[1]);  // two ways to make one token
  EXPECT_TRUE(ScoresOfMerges(spec).ok());
  spec.merges = *MergesByScore(spec.vocab, {0, 0, 0, -2, -3, -2, -4});  // ab c, a bc, a b; b c; c a
  std::swap(spec.merges[1], spec.merges[2]);
  EXPECT_EQ(*ScoresOfMerges(spec), (std::vector<double>{-4, -4, -4, -1, -2, -1, -3}));
  EXPECT_TRUE(ScoresOfMerges(*TokenizerSpecFromGguf(SmallGguf())).ok());
  EXPECT_TRUE(ScoresOfMerges(BpeSpec()).ok());
}

TEST(SentencePiece, MergesOfNoScoresAreNamed) {
  BpeSpec spec;
  spec.vocab = {"a", "b", "c", "ab", "bc", "abc"};
  const std::vector<Merge> good = *MergesByScore(spec.vocab, {0, 0, 0, -2, -3, -1});  // ab c, a bc, a b, b c
  const auto refused = [&](std::vector<Merge> merges, absl::string_view why) {
    spec.merges = std::move(merges);
    const absl::Status s = ScoresOfMerges(spec).status();
    EXPECT_NE(s.message().find(why), absl::string_view::npos) << s << ", expected " << why;
  };
  refused({good[0], good[2], good[3]}, "by scores \"a bc\" would merge too");
  refused({good[0], good[0], good[1], good[2], good[3]}, "by scores \"a b\" would merge too, or earlier");
  refused({good[0], good[1], good[2], good[3], good[3]}, "\"b c\" is one too many");
  spec.added = {{.id = 5, .content = "abc"}};  // text never comes to it, so that "a bc" need not be there
  refused({good[0], good[2], good[3]}, "by scores \"a bc\" would merge too");
  spec.merges = {good[2], good[3]};
  EXPECT_TRUE(ScoresOfMerges(spec).ok()) << ScoresOfMerges(spec).status();
}

TEST(SentencePiece, CharactersWithoutATokenAreSpelledInBytes) {
  const Tokenizer tokenizer = Make();
  EXPECT_EQ(Pieces(tokenizer, tokenizer.Encode("the 中\n")), "▁the|▁|<0xE4>|<0xB8>|<0xAD>|<0x0A>|");
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("the 中\n")), "the 中\n");
}

TEST(SentencePiece, WhereAPrefixStands) {
  const std::string text = "the<s> the<s>the";
  const auto pieces = [&](Prefix prefix, bool in_normalizer) {
    const Tokenizer tokenizer = Make(prefix, in_normalizer);
    return Pieces(tokenizer, tokenizer.Encode(text, {.allow_special = true}));
  };
  EXPECT_EQ(pieces(Prefix::kFirst, false), "▁the|<s>|▁the|<s>|t|he|");
  EXPECT_EQ(pieces(Prefix::kAlways, false), "▁the|<s>|▁the|<s>|▁the|");
  EXPECT_EQ(pieces(Prefix::kAlways, true), "▁the|<s>|▁▁|t|he|<s>|▁the|");
  EXPECT_EQ(pieces(Prefix::kNever, true), "t|he|<s>|▁the|<s>|t|he|");
}

TEST(SentencePiece, ATextInSeveralCallsHasOnePrefix) {
  for (const bool in_normalizer : {false, true}) {
    const Tokenizer tokenizer = Make(in_normalizer ? Prefix::kAlways : Prefix::kFirst, in_normalizer);
    TextPlace place = TextPlace::kStart;
    Ids ids = tokenizer.EncodeParts({{"the", false}}, &place);
    const Ids more = tokenizer.EncodeParts({{"m the", false}}, &place);
    ids.insert(ids.end(), more.begin(), more.end());
    EXPECT_EQ(Pieces(tokenizer, ids), "▁the|m|▁the|");
    tokenizer.EncodeParts({{"<s>", true}}, &place);
    EXPECT_EQ(Pieces(tokenizer, tokenizer.EncodeParts({{"the", false}}, &place)), in_normalizer ? "▁the|" : "t|he|");
  }
}

TEST(SentencePiece, NoTextOfAUserBecomesAControlToken) {
  const Tokenizer tokenizer = Make();
  for (const char* text : {"<s>", "</s>", "<unk>", "the</s><s>"}) {
    const Ids ids = tokenizer.Encode(text);
    for (const int32_t id : ids) EXPECT_FALSE(tokenizer.IsSpecial(id)) << Pieces(tokenizer, ids);
    EXPECT_EQ(tokenizer.Decode(ids), text);
  }
  EXPECT_EQ(tokenizer.Encode("</s>", {.allow_special = true}), Ids{2});
}

TEST(SentencePiece, UnknownCharactersFuseOrNot) {
  BpeSpec spec = *TokenizerSpecFromGguf(SmallGguf());
  spec.sentencepiece->byte_fallback = false;
  const auto pieces = [&] {
    const Tokenizer tokenizer = *Tokenizer::Create(spec);
    return Pieces(tokenizer, tokenizer.Encode("the中中m中"));
  };
  EXPECT_EQ(pieces(), "▁the|<unk>|m|<unk>|");
  spec.sentencepiece->fuse_unknown = false;
  EXPECT_EQ(pieces(), "▁the|<unk>|<unk>|m|<unk>|");
  spec.sentencepiece->unknown_id = -1;
  EXPECT_EQ(pieces(), "▁the|m|");
}

TEST(SentencePiece, AStreamHoldsBytesBackUntilAnotherTokenFollows) {
  const Tokenizer tokenizer = Make();
  StreamDecoder decoder(&tokenizer);
  std::vector<std::string> pushed;
  Ids ids = tokenizer.Encode("the 中m");
  for (const int32_t id : ids) pushed.push_back(decoder.Push(id));
  EXPECT_EQ(pushed, (std::vector<std::string>{"the", " ", "", "", "", "中m"}));
  EXPECT_EQ(decoder.Finish(), "");
  ids.resize(ids.size() - 2);  // a character without its last byte
  EXPECT_EQ(tokenizer.Decode(ids), "the \uFFFD\uFFFD");
}

TEST(SentencePiece, ALongTextWithoutSpacesIsEncodedAtOnceAndComesBack) {
  const Tokenizer tokenizer = Make();
  std::string text;
  for (int64_t i = 0; i < 1000000; ++i) text.push_back("them"[(i * i + i / 3) % 4]);
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text);
}

TEST(GgufSentencePiece, BeginsWithBosAndMarksASpaceBeforeEveryStretch) {
  GgufTokenizerMetadata m = SmallGguf();
  EXPECT_EQ(TokenizerSpecFromGguf(m)->prefix_ids, Ids{1});
  EXPECT_EQ(TokenizerSpecFromGguf(m)->stop_ids, Ids{2});
  EXPECT_EQ(TokenizerSpecFromGguf(m)->sentencepiece->prefix, Prefix::kAlways);
  EXPECT_TRUE(TokenizerSpecFromGguf(m)->sentencepiece->in_normalizer);
  m.architecture = "gemma2";
  EXPECT_EQ(TokenizerSpecFromGguf(m)->sentencepiece->prefix, Prefix::kNever);
  m = SmallGguf();
  m.add_space_prefix = m.add_bos_token = false;
  EXPECT_EQ(TokenizerSpecFromGguf(m)->sentencepiece->prefix, Prefix::kNever);
  EXPECT_TRUE(TokenizerSpecFromGguf(m)->prefix_ids.empty());
}

template <typename Change>
void ExpectRefused(Change change, absl::string_view reason) {
  GgufTokenizerMetadata m = SmallGguf();
  change(m);
  const absl::StatusOr<BpeSpec> spec = TokenizerSpecFromGguf(m);
  ASSERT_FALSE(spec.ok()) << "expected: " << reason;
  EXPECT_NE(spec.status().message().find(reason), absl::string_view::npos) << spec.status();
}

TEST(GgufSentencePiece, BadByteTokensAndScoresAreErrorsThatNameThem) {
  ExpectRefused([](auto& m) { m.tokens[3] = "<0x0>"; }, "<0x0>");
  ExpectRefused([](auto& m) { m.tokens[13] = "<0x0a>"; }, "<0x0a>");
  ExpectRefused([](auto& m) { m.tokens[4] = "<0x00>"; }, "twice");
  ExpectRefused([](auto& m) { m.scores.pop_back(); }, "scores");
  ExpectRefused([](auto& m) { m.scores[5] = std::numeric_limits<double>::infinity(); }, "token 5");
  ExpectRefused([](auto& m) { m.merges = {"▁t zz"}; }, "zz");
  ExpectRefused([](auto& m) { m.model = "t5"; }, "t5");
}

}  // namespace
}  // namespace lorikeet::text
