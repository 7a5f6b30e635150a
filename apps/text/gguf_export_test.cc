#include "apps/text/gguf_export.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/chat_template.h"
#include "apps/text/gguf_spec.h"
#include "apps/text/gguf_tokenizer.h"
#include "apps/text/golden_vectors.h"
#include "apps/text/sentencepiece_for_test.h"
#include "apps/text/tokenizer.h"
#include "apps/text/tokenizer_json.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_writer.h"

namespace lorikeet::text {
namespace {

// A GGUF file of nothing but a tokenizer.
std::unique_ptr<GgufFile> Written(const GgufTokenizerMetadata& metadata) {
  GgufValues values;
  AddTokenizerValues(metadata, &values);
  const std::string path = testing::TempDir() + "/tokenizer.gguf";
  auto writer = GgufWriter::Create(path, values, {});
  EXPECT_TRUE(writer.ok() && (*writer)->Finish().ok()) << writer.status();
  auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return *std::move(file);
}

BpeSpec Family(const std::string& name) {
  TokenizerFiles files;
  files.tokenizer_json = ReadZstdFile(absl::StrCat("tests/golden/tokenizer_families/", name, ".json.zst"));
  absl::StatusOr<BpeSpec> spec = TokenizerSpecFromJson(files);
  EXPECT_TRUE(spec.ok()) << spec.status();
  spec->eos_id = spec->added.front().id;
  spec->stop_ids = {spec->eos_id};
  return *std::move(spec);
}

// Printable ASCII, an end of text, the markers of ChatML and of Llama 3.
BpeSpec AsciiChat() {
  BpeSpec spec;
  for (char c = '!'; c <= '~'; ++c) spec.vocab.push_back(std::string(1, c));
  for (const char* token : {"\u0120", "\u010a", "ab", "bb"}) spec.vocab.push_back(token);
  const VocabIndex index = *IndexVocab(spec.vocab);
  spec.merges = {*ResolveMerge(index, "a", "b"), *ResolveMerge(index, "b", "b")};
  int32_t id = static_cast<int32_t>(spec.vocab.size());
  for (const char* content :
       {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"})
    spec.added.push_back({.id = id++, .content = content, .special = true});
  spec.bos_id = spec.eos_id = spec.added[0].id;
  spec.stop_ids = {spec.eos_id, spec.added[2].id};
  return spec;
}

class FamilyExport : public testing::TestWithParam<const char*> {};

TEST_P(FamilyExport, TheFileGivesTheReferencesIds) {
  const BpeSpec spec = Family(GetParam());
  const absl::StatusOr<GgufTokenizerMetadata> m = ToGgufTokenizer(spec, nullptr, 1000);
  ASSERT_TRUE(m.ok()) << m.status();
  EXPECT_EQ(m->tokens.size(), 1000u);
  const std::unique_ptr<GgufFile> file = Written(*m);
  const absl::Status same = CheckGgufTokenizer(*Tokenizer::Create(spec), nullptr, file->metadata());
  EXPECT_TRUE(same.ok()) << same;
  const absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Create(*TokenizerSpecFromGguf(file->metadata()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string stem = absl::StrCat("tests/golden/tokenizer_families/", GetParam());
  for (const bool special : {false, true}) {
    const GoldenVectors golden = ReadGoldenVectors(stem + (special ? "_special.zst" : "_text.zst"));
    for (size_t i = 0; i < golden.texts.size(); ++i)
      ASSERT_EQ(tokenizer->Encode(golden.texts[i], {.allow_special = special}), golden.ids[i]) << golden.texts[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyExport, testing::Values("smollm", "llama3", "qwen35", "tekken", "gpt4o"),
                         [](const auto& info) { return std::string(info.param); });

TEST(GgufExportTest, ASentencePieceTokenizerComesBackFromItsScores) {
  BpeSpec spec = SmallSentencePiece();
  for (const bool prefix : {true, false}) {
    if (!prefix) spec.sentencepiece->prefix = SentencePieceRules::Prefix::kNever;
    spec.sentencepiece->strip_first_space = prefix;
    for (const char* name : {"chatml", "plain"}) {
      const absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(spec, name);
      const absl::StatusOr<GgufTokenizerMetadata> m = ToGgufTokenizer(spec, &*chat, 320);
      ASSERT_TRUE(m.ok()) << m.status();
      EXPECT_EQ(m->model, "llama");
      EXPECT_EQ(m->add_space_prefix.value(), prefix);
      EXPECT_EQ(m->tokens.size(), 320u);
      EXPECT_EQ(m->scores.size(), 320u);
      const std::vector<int32_t> types(m->token_type.begin(), m->token_type.begin() + 5);
      EXPECT_EQ(types, (std::vector<int32_t>{2, 3, 3, 6, 6}));
      const std::unique_ptr<GgufFile> file = Written(*m);
      EXPECT_FALSE(file->metadata().Has("tokenizer.ggml.merges"));
      const absl::Status same = CheckGgufTokenizer(*Tokenizer::Create(spec), &*chat, file->metadata());
      EXPECT_TRUE(same.ok()) << name << ": " << same;
    }
  }
}

// Gemma's runs of spaces: added tokens that no text holds, because spaces are marked later; merges make them.
TEST(GgufExportTest, ARunOfMarksAmongAddedTokensIsOneThatMergesMake) {
  BpeSpec spec = SmallSentencePiece();
  const int32_t run = (*IndexVocab(spec.vocab))["▁▁"];
  spec.added.insert(spec.added.begin() + 3, {.id = run, .content = "▁▁"});
  const absl::StatusOr<GgufTokenizerMetadata> m = ToGgufTokenizer(spec, nullptr, 0);
  ASSERT_TRUE(m.ok()) << m.status();
  EXPECT_EQ(m->token_type[static_cast<size_t>(run)], 1);
  const absl::Status same = CheckGgufTokenizer(*Tokenizer::Create(spec), nullptr, Written(*m)->metadata());
  EXPECT_TRUE(same.ok()) << same;
}

TEST(GgufExportTest, WhatGgufCannotSayIsRefusedWithTheReason) {
  const auto refused = [](const BpeSpec& spec, const char* why) {
    const absl::Status s = ToGgufTokenizer(spec, nullptr, 0).status();
    EXPECT_TRUE(absl::IsInvalidArgument(s) && absl::StrContains(s.message(), why)) << s;
  };
  refused(Family("gpt2"), "lstrip");
  refused(Family("qwen2"), "lstrip");
  BpeSpec spec = AsciiChat();
  spec.ignore_merges = true;
  refused(spec, "pre cannot be determined");
  spec = AsciiChat();
  spec.normalizer = Normalizer::kNfc;
  refused(spec, "pre cannot be determined");
  spec = AsciiChat();
  spec.prefix_ids = {spec.bos_id, 3};
  refused(spec, "begins with the tokens");
  spec = AsciiChat();
  spec.eos_id = -1;
  refused(spec, "eos_token");
  spec = SmallSentencePiece();
  spec.sentencepiece->in_normalizer = false;
  refused(spec, "Metaspace");
  spec = SmallSentencePiece();
  spec.sentencepiece->byte_fallback = false;
  refused(spec, "256 of the 256 byte tokens, unused");
  spec = SmallSentencePiece();
  spec.vocab[3 + 65] = "\u0100";
  refused(spec, "255 of the 256 byte tokens");
  spec = SmallSentencePiece();
  spec.sentencepiece->split_words = true;
  refused(spec, "its token \"▁▁\" holds one");
  spec = SmallSentencePiece();
  spec.merges.erase(spec.merges.begin());
  refused(spec, "no scores give its merges: by scores \"▁ ▁\" would merge");
}

TEST(GgufExportTest, ItBeginsAndEndsAsTrainingDid) {
  BpeSpec spec = AsciiChat();
  spec.prefix_ids = {spec.bos_id};  // of running text; ChatML has no BOS all the same, Llama 3's template its own
  for (const char* name : {"chatml", "smollm2", "llama3", "plain", "raw"}) {
    const absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(spec, name);
    const absl::StatusOr<GgufTokenizerMetadata> m = ToGgufTokenizer(spec, &*chat, 0);
    ASSERT_TRUE(m.ok()) << m.status();
    EXPECT_EQ(m->add_bos_token.value(), chat->is_bare() || chat->name() == "llama3") << name;
    EXPECT_EQ(m->eot_token_id.has_value(), !chat->is_bare()) << name;
    EXPECT_EQ(m->chat_template, *chat->Jinja()) << name;
    const absl::Status same = CheckGgufTokenizer(*Tokenizer::Create(spec), &*chat, Written(*m)->metadata());
    EXPECT_TRUE(same.ok()) << name << ": " << same;
  }
}

TEST(GgufExportTest, AMarkOfATurnIsNoBeginningOfTextsEvenIfItIsBos) {
  BpeSpec spec = AsciiChat();
  const auto mark = std::find_if(spec.added.begin(), spec.added.end(),
                                 [](const AddedToken& t) { return t.content == "<|im_start|>"; });
  ASSERT_NE(mark, spec.added.end());
  spec.bos_id = mark->id;
  const absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(spec, "chatml");
  const absl::StatusOr<GgufTokenizerMetadata> m = ToGgufTokenizer(spec, &*chat, 0);
  ASSERT_TRUE(m.ok()) << m.status();
  EXPECT_FALSE(m->add_bos_token.value());
}

TEST(GgufExportTest, TemplatesWrittenAsJinjaAreRecognisedAgain) {
  BpeSpec spec = AsciiChat();
  for (const char* name : {"chatml", "smollm2", "qwen2", "llama3"}) {
    const absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(spec, name);
    spec.chat_template = *chat->Jinja();
    const absl::StatusOr<ChatTemplate> again = ChatTemplate::ForTokenizer(spec, "");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again->Jinja(), *chat->Jinja()) << name;
  }
}

TEST(GgufExportTest, ATemplateWhoseTextIsNotKnownMustBeTheModelsOwn) {
  const BpeSpec spec = AsciiChat();
  const absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(spec, "qwen2.5");
  ASSERT_TRUE(chat.ok()) << chat.status();
  const absl::StatusOr<GgufTokenizerMetadata> m = ToGgufTokenizer(spec, &*chat, 0);
  EXPECT_TRUE(absl::StrContains(m.status().message(), "qwen2.5")) << m.status();
}

TEST(GgufExportTest, EveryDifferenceInTheFileIsFound) {
  const BpeSpec spec = AsciiChat();
  const Tokenizer trained = *Tokenizer::Create(spec);
  const absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(spec, "chatml");
  const GgufTokenizerMetadata good = *ToGgufTokenizer(spec, &*chat, 0);
  const auto found = [&](const GgufTokenizerMetadata& bad, const char* what) {
    const absl::Status s = CheckGgufTokenizer(trained, &*chat, Written(bad)->metadata());
    EXPECT_TRUE(absl::IsInvalidArgument(s) && absl::StrContains(s.message(), what)) << what << ": " << s;
  };
  GgufTokenizerMetadata bad = good;
  bad.add_bos_token = true;
  found(bad, "how a conversation begins");
  bad = good;
  bad.eot_token_id.reset();
  found(bad, "would not stop");
  bad = good;
  bad.chat_template = *ChatTemplate::ForTokenizer(spec, "smollm2")->Jinja();
  found(bad, "a conversation");
  bad = good;
  std::swap(bad.tokens[40], bad.tokens[41]);
  found(bad, "token 40");
  bad = good;
  bad.token_type.back() = 4;
  found(bad, absl::StrCat("token ", bad.tokens.size() - 1).c_str());
  bad = good;
  std::reverse(bad.merges.begin(), bad.merges.end());
  found(bad, "a plain text");
}

}  // namespace
}  // namespace lorikeet::text
