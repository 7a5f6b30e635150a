// Equality with Hugging Face's tokenizers on the fixtures of tests/golden: small tokenizers of every family, and more
// strings from the directory that LORIKEET_TOKENIZER_VECTORS names (tests/golden/tokenizer_vectors.py makes it).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
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

TEST_P(FamilyTest, DecodingGivesTheNormalizedTextBack) {
  const Tokenizer tokenizer = Load(Path(".json.zst"));
  const bool nfc = tokenizer.spec().normalizer == Normalizer::kNfc;
  for (const std::string& text : ReadGoldenVectors(Path("_text.zst")).texts) {
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), nfc ? NormalizeNfc(text) : text);
  }
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

INSTANTIATE_TEST_SUITE_P(Families, FamilyTest, testing::Values("gpt2", "smollm", "llama3", "qwen2", "qwen35"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Oracle, TheStringsOfAnotherDirectoryAgreeAsWell) {
  const char* directory = std::getenv("LORIKEET_TOKENIZER_VECTORS");
  if (directory == nullptr) GTEST_SKIP() << "LORIKEET_TOKENIZER_VECTORS names no directory";
  for (const char* family : {"gpt2", "smollm", "llama3", "qwen2", "qwen35", "smollm2"}) {
    const std::string stem = absl::StrCat(directory, "/", family);
    if (!std::ifstream(stem + ".json.zst").good()) continue;
    SCOPED_TRACE(family);
    const GoldenVectors vectors = ReadGoldenVectors(stem + "_text.zst");
    ExpectEqualIds(Load(stem + ".json.zst"), vectors, false);
    std::printf("%s: %zu strings\n", family, vectors.texts.size());
  }
}

}  // namespace
}  // namespace lorikeet::text
