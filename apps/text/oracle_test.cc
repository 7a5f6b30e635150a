// Equality with Hugging Face's tokenizers on the fixtures of tests/golden: small tokenizers of every family, and more
// strings from the directory that LORIKEET_TOKENIZER_VECTORS names (tests/golden/tokenizer_vectors.py makes it).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/golden_vectors.h"
#include "apps/text/nfc.h"
#include "apps/text/tokenizer.h"
#include "apps/text/tokenizer_json.h"
#include "tensor/check.h"

namespace lorikeet::text {
namespace {

constexpr char kFixtures[] = "tests/golden/tokenizer_families";

Tokenizer Load(const std::string& path) {
  TokenizerFiles files;
  files.tokenizer_json = ReadZstdFile(path);
  absl::StatusOr<BpeSpec> spec = TokenizerSpecFromJson(files);
  LORIKEET_CHECK(spec.ok()) << path << ": " << spec.status();
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Create(*std::move(spec));
  LORIKEET_CHECK(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

void ExpectEqualIds(const Tokenizer& tokenizer, const GoldenVectors& vectors, bool allow_special) {
  ASSERT_FALSE(vectors.texts.empty());
  int mismatches = 0;
  for (size_t i = 0; i < vectors.texts.size(); ++i) {
    if (tokenizer.Encode(vectors.texts[i], {.allow_special = allow_special}) == vectors.ids[i]) continue;
    if (++mismatches > 10) continue;
    EXPECT_EQ(tokenizer.Encode(vectors.texts[i], {.allow_special = allow_special}), vectors.ids[i])
        << "\"" << vectors.texts[i] << "\"";
  }
  EXPECT_EQ(mismatches, 0) << "of " << vectors.texts.size();
}

class FamilyTest : public testing::TestWithParam<const char*> {
 protected:
  std::string Path(const char* suffix) const { return absl::StrCat(kFixtures, "/", GetParam(), suffix); }
};

TEST_P(FamilyTest, PlainTextGivesTheReferencesIds) {
  ExpectEqualIds(Load(Path(".json.zst")), ReadGoldenVectors(Path("_text.zst")), false);
}

TEST_P(FamilyTest, TextWithMarkersGivesTheReferencesIdsWhereTheyAreAllowed) {
  ExpectEqualIds(Load(Path(".json.zst")), ReadGoldenVectors(Path("_special.zst")), true);
}

TEST_P(FamilyTest, NoPlainTextBecomesAControlToken) {
  const Tokenizer tokenizer = Load(Path(".json.zst"));
  std::vector<std::string> texts = ReadGoldenVectors(Path("_special.zst")).texts;
  for (const AddedToken& token : tokenizer.spec().added) texts.push_back("a " + token.content + token.content + "b");
  const auto& rules = tokenizer.spec().sentencepiece;
  const int32_t unknown = rules.has_value() ? rules->unknown_id : -1;  // what a character without bytes is, and no more
  for (const std::string& text : texts) {
    for (const int32_t id : tokenizer.Encode(text)) EXPECT_TRUE(id == unknown || !tokenizer.IsSpecial(id)) << text;
  }
}

class ByteLevelTest : public FamilyTest {};

TEST_P(ByteLevelTest, DecodingGivesTheNormalizedTextBack) {
  const Tokenizer tokenizer = Load(Path(".json.zst"));
  const bool nfc = tokenizer.spec().normalizer == Normalizer::kNfc;
  for (const std::string& text : ReadGoldenVectors(Path("_text.zst")).texts) {
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), nfc ? NormalizeNfc(text) : text);
  }
}

class SentencePieceTest : public FamilyTest {};

TEST_P(SentencePieceTest, AnyIdsDecodeToTheReferencesText) {
  const Tokenizer tokenizer = Load(Path(".json.zst"));
  const GoldenVectors vectors = ReadGoldenVectors(Path("_decode.zst"));
  ASSERT_GT(vectors.texts.size(), 900u);
  for (size_t i = 0; i < vectors.texts.size(); ++i) EXPECT_EQ(tokenizer.Decode(vectors.ids[i]), vectors.texts[i]) << i;
}

TEST_P(FamilyTest, WritingTheSpecAndReadingItAgainKeepsEveryId) {
  const Tokenizer tokenizer = Load(Path(".json.zst"));
  TokenizerFiles files;
  files.tokenizer_json = ToTokenizerJson(tokenizer.spec());
  files.tokenizer_config_json = ToTokenizerConfigJson(tokenizer.spec());
  absl::StatusOr<BpeSpec> spec = TokenizerSpecFromJson(files);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->prefix_ids, tokenizer.spec().prefix_ids);
  absl::StatusOr<Tokenizer> again = Tokenizer::Create(*std::move(spec));
  ASSERT_TRUE(again.ok()) << again.status();
  ExpectEqualIds(*again, ReadGoldenVectors(Path("_text.zst")), false);
  ExpectEqualIds(*again, ReadGoldenVectors(Path("_special.zst")), true);
}

constexpr const char* kByteLevel[] = {"gpt2", "smollm", "llama3", "qwen2", "qwen35", "tekken", "gpt4o"};
constexpr const char* kSentencePiece[] = {"llama2", "mistral", "gemma", "metaspace"};

std::string NameOf(const testing::TestParamInfo<const char*>& info) { return info.param; }

INSTANTIATE_TEST_SUITE_P(ByteLevel, FamilyTest, testing::ValuesIn(kByteLevel), NameOf);
INSTANTIATE_TEST_SUITE_P(SentencePiece, FamilyTest, testing::ValuesIn(kSentencePiece), NameOf);
INSTANTIATE_TEST_SUITE_P(Families, ByteLevelTest, testing::ValuesIn(kByteLevel), NameOf);
INSTANTIATE_TEST_SUITE_P(Families, SentencePieceTest, testing::ValuesIn(kSentencePiece), NameOf);

TEST(Oracle, TheStringsOfAnotherDirectoryAgreeAsWell) {
  const char* directory = std::getenv("LORIKEET_TOKENIZER_VECTORS");
  if (directory == nullptr) GTEST_SKIP() << "LORIKEET_TOKENIZER_VECTORS names no directory";
  std::vector<std::string> families(std::begin(kByteLevel), std::end(kByteLevel));
  families.insert(families.end(), std::begin(kSentencePiece), std::end(kSentencePiece));
  families.push_back("smollm2");
  for (const std::string& family : families) {
    const std::string stem = absl::StrCat(directory, "/", family);
    if (!std::ifstream(stem + ".json.zst").good()) continue;
    SCOPED_TRACE(family);
    const GoldenVectors vectors = ReadGoldenVectors(stem + "_text.zst");
    ExpectEqualIds(Load(stem + ".json.zst"), vectors, false);
    std::printf("%s: %zu strings\n", family.c_str(), vectors.texts.size());
  }
}

}  // namespace
}  // namespace lorikeet::text
