#include "apps/text/bpe_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/golden_vectors.h"
#include "apps/text/tokenizer.h"
#include "apps/text/tokenizer_json.h"

namespace lorikeet::text {
namespace {

std::vector<std::string> MergesOf(const BpeSpec& spec) {
  std::vector<std::string> merges;
  for (const Merge& m : spec.merges) merges.push_back(absl::StrCat(spec.vocab[m.left], " ", spec.vocab[m.right]));
  return merges;
}

class TrainerOracleTest : public testing::TestWithParam<const char*> {};

TEST_P(TrainerOracleTest, LearnsTheReferencesVocabularyFromTheSameStrings) {
  const std::string stem = absl::StrCat("tests/golden/tokenizer_families/", GetParam());
  TokenizerFiles files;
  files.tokenizer_json = ReadZstdFile(stem + ".json.zst");
  absl::StatusOr<BpeSpec> want = TokenizerSpecFromJson(files);
  ASSERT_TRUE(want.ok()) << want.status();
  BpeTrainerOptions options = {.vocab_size = 900, .normalizer = want->normalizer, .pretokenizer = want->pretokenizer};
  if (want->pretokenizer == PretokenizerFamily::kSmolLm) {
    options.special_tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  }
  BpeTrainer trainer(options);
  for (const std::string& text : ReadGoldenVectors(stem + "_text.zst").texts) trainer.Add(text);
  const BpeSpec spec = trainer.Train();
  EXPECT_EQ(MergesOf(spec), MergesOf(*want));
  EXPECT_EQ(spec.vocab, want->vocab);
}

INSTANTIATE_TEST_SUITE_P(Families, TrainerOracleTest, testing::Values("gpt2", "smollm", "qwen2", "qwen35", "gpt4o"),
                         [](const auto& info) { return std::string(info.param); });

TEST(BpeTrainer, TheOrderOfTheTextsDoesNotMatter) {
  const std::vector<std::string> texts = {"low lower lowest", "new newer", "wide wider low", "aaaa aaa aa", "x", ""};
  BpeTrainer forward({.vocab_size = 300}), backward({.vocab_size = 300});
  for (auto it = texts.begin(); it != texts.end(); ++it) forward.Add(*it);
  for (auto it = texts.rbegin(); it != texts.rend(); ++it) backward.Add(*it);
  EXPECT_EQ(forward.Train().vocab, backward.Train().vocab);
}

TEST(BpeTrainer, StopsWhereThePairsRunOutAndEncodesEveryByte) {
  BpeTrainer trainer({.vocab_size = 5000, .special_tokens = {"<|end|>"}});
  trainer.Add("ab ab ab");
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Create(trainer.Train());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_LT(tokenizer->num_tokens(), 262);
  EXPECT_EQ(tokenizer->Encode(" ab").size(), 1u);
  for (int c = 0; c < 128; ++c)
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(std::string(1, char(c)))), std::string(1, char(c)));
  EXPECT_TRUE(tokenizer->IsStop(0));
}

}  // namespace
}  // namespace lorikeet::text
