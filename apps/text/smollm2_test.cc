// SmolLM2's own tokenizer, out of its GGUF file, against the fixtures of tests/golden. Skips where the file is not in
// the cache directory (tools/fetch_model smollm2-135m puts it there).
#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/text/gguf_tokenizer.h"
#include "apps/text/golden_vectors.h"
#include "apps/text/tokenizer.h"
#include "apps/text/tokenizer_json.h"
#include "tensor/check.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_metadata.h"

namespace lorikeet::text {
namespace {

std::string ModelPath() {
  if (const char* cache = std::getenv("LORIKEET_CACHE")) return absl::StrCat(cache, "/smollm2-135m.gguf");
  const passwd* user = getpwuid(getuid());
  return absl::StrCat(user == nullptr ? "" : user->pw_dir, "/.cache/lorikeet/smollm2-135m.gguf");
}

// Loaded once for all tests; nullptr where the file is missing.
const Tokenizer* SmolLm2() {
  static const Tokenizer* tokenizer = []() -> Tokenizer* {
    if (!std::ifstream(ModelPath()).good()) return nullptr;
    const absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open(ModelPath());
    LORIKEET_CHECK(file.ok()) << file.status();
    absl::StatusOr<BpeSpec> spec = TokenizerSpecFromGguf((*file)->metadata());
    LORIKEET_CHECK(spec.ok()) << spec.status();
    absl::StatusOr<Tokenizer> made = Tokenizer::Create(*std::move(spec));
    LORIKEET_CHECK(made.ok()) << made.status();
    return new Tokenizer(*std::move(made));
  }();
  return tokenizer;
}

class SmolLm2Test : public testing::Test {
 protected:
  void SetUp() override {
    if (SmolLm2() == nullptr) GTEST_SKIP() << "no " << ModelPath() << "; run tools/fetch_model smollm2-135m";
  }
};

void ExpectEqualIds(const Tokenizer& tokenizer, const char* file, bool allow_special, size_t at_least) {
  const GoldenVectors vectors = ReadGoldenVectors(absl::StrCat("tests/golden/tokenizer/", file));
  ASSERT_GE(vectors.texts.size(), at_least);
  int mismatches = 0;
  for (size_t i = 0; i < vectors.texts.size(); ++i) {
    if (tokenizer.Encode(vectors.texts[i], {.allow_special = allow_special}) == vectors.ids[i]) continue;
    if (++mismatches <= 10) ADD_FAILURE() << "\"" << vectors.texts[i].substr(0, 200) << "\"";
  }
  EXPECT_EQ(mismatches, 0) << "of " << vectors.texts.size();
}

TEST_F(SmolLm2Test, TwentyThousandStringsGiveTheReferencesIds) {
  ExpectEqualIds(*SmolLm2(), "smollm2_text.zst", false, 20000);
}

TEST_F(SmolLm2Test, EveryVocabularyEntryGivesTheReferencesIds) {
  ExpectEqualIds(*SmolLm2(), "smollm2_vocabulary.zst", false, 40000);
}

TEST_F(SmolLm2Test, ControlTokensAreFoundWhereAllowed) { ExpectEqualIds(*SmolLm2(), "smollm2_special.zst", true, 14); }

TEST_F(SmolLm2Test, WrittenAsTokenizerJsonItGivesTheSameIds) {
  TokenizerFiles files;
  files.tokenizer_json = ToTokenizerJson(SmolLm2()->spec());
  files.tokenizer_config_json = ToTokenizerConfigJson(SmolLm2()->spec());
  absl::StatusOr<BpeSpec> spec = TokenizerSpecFromJson(files);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->chat_template, SmolLm2()->spec().chat_template);
  EXPECT_EQ(spec->stop_ids, SmolLm2()->spec().stop_ids);
  const absl::StatusOr<Tokenizer> again = Tokenizer::Create(*std::move(spec));
  ASSERT_TRUE(again.ok()) << again.status();
  ExpectEqualIds(*again, "smollm2_text.zst", false, 20000);
  ExpectEqualIds(*again, "smollm2_special.zst", true, 14);
}

TEST_F(SmolLm2Test, ItsOwnTemplateGivesOneTokenAMarkerAndLossOnTheAnswer) {
  const absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(SmolLm2()->spec(), "");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->name(), "smollm2");
  const std::vector<Segment> segments = *chat->Render({{"user", "How many?"}, {"assistant", "Four."}});
  const Example example = EncodeSegments(segments, *SmolLm2(), false);
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  EXPECT_EQ(example.tokens, SmolLm2()->Encode(text, {.allow_special = true}));
  std::vector<int32_t> want = SmolLm2()->Encode("Four.");
  want.push_back(2);  // <|im_end|>
  std::vector<int32_t> targets;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    if (example.loss_mask[i]) targets.push_back(example.tokens[i]);
  }
  EXPECT_EQ(targets, want);
}

TEST(GgufTokenizer, AValueOfAnotherTypeIsAnErrorThatNamesTheKey) {
  GgufMetadata metadata;
  EXPECT_NE(TokenizerSpecFromGguf(metadata).status().message().find("tokenizer.ggml.model"), absl::string_view::npos);
  GgufValue number;
  number.type = GgufType::kU8;
  number.bytes = std::string(1, '\1');
  metadata.Add("tokenizer.ggml.model", number);
  EXPECT_NE(TokenizerSpecFromGguf(metadata).status().message().find("tokenizer.ggml.model"), absl::string_view::npos);
}

}  // namespace
}  // namespace lorikeet::text
