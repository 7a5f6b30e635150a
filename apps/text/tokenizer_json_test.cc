#include "apps/text/tokenizer_json.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "apps/text/gguf_spec.h"
#include "apps/text/json.h"
#include "apps/text/tokenizer.h"
#include "nlohmann/json.hpp"

namespace lorikeet::text {
namespace {

using nlohmann::json;

constexpr char kSmall[] = R"({
  "version": "1.0", "normalizer": null, "post_processor": null, "unknown_key": [1, 2],
  "added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false},
                   {"id": 5, "content": "</s>", "special": true, "normalized": false}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "aba": 3}, "merges": ["#version: 0.2", "a b", ["ab", "a"]]}
})";

absl::StatusOr<BpeSpec> Read(const json& root, const std::string& config = "", const std::string& generation = "") {
  TokenizerFiles files;
  files.tokenizer_json = root.dump();
  files.tokenizer_config_json = config;
  files.generation_config_json = generation;
  return TokenizerSpecFromJson(files);
}

json Small() { return json::parse(kSmall); }

void ExpectRefused(const json& root, absl::string_view reason) {
  const absl::StatusOr<BpeSpec> spec = Read(root);
  ASSERT_FALSE(spec.ok()) << "expected: " << reason;
  EXPECT_NE(spec.status().message().find(reason), absl::string_view::npos) << spec.status();
}

// Small() with the value at a JSON pointer replaced.
json With(const char* pointer, json value) {
  json root = Small();
  root[json::json_pointer(pointer)] = std::move(value);
  return root;
}

TEST(TokenizerJson, BothFormsOfMergesAreReadAndTheFirstLineMayBeAVersion) {
  absl::StatusOr<BpeSpec> spec = Read(Small());
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->merges.size(), 2u);
  EXPECT_EQ(Tokenizer::Create(*std::move(spec))->Encode("aba"), (std::vector<int32_t>{3}));
}

TEST(TokenizerJson, WhatWouldChangeIdsAndIsNotKnownIsAnErrorThatPrintsIt) {
  ExpectRefused(With("/version", "2.0"), "1.0");
  ExpectRefused(With("/model/type", "Unigram"), "Unigram");
  ExpectRefused(With("/model/dropout", 0.1), "dropout");
  ExpectRefused(With("/model/byte_fallback", true), "byte_fallback");
  ExpectRefused(With("/model/continuing_subword_prefix", "##"), "continuing_subword_prefix");
  ExpectRefused(With("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix");
  ExpectRefused(With("/normalizer", {{"type", "NFKC"}}), "NFKC");
  ExpectRefused(With("/pre_tokenizer", nullptr), "pre_tokenizer");
  ExpectRefused(With("/pre_tokenizer/add_prefix_space", true), "add_prefix_space");
  ExpectRefused(With("/pre_tokenizer", json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})")),
                "(a+)+$");
  ExpectRefused(With("/post_processor", {{"type", "BertProcessing"}}), "BertProcessing");
}

TEST(TokenizerJson, IdsMustBeThoseThatTheReferenceWouldGive) {
  ExpectRefused(With("/model/vocab/aba", 7), "7");
  ExpectRefused(With("/model/vocab/aba", 2), "each once");
  ExpectRefused(With("/model/vocab/aba", -1), "-1");
  ExpectRefused(With("/model/vocab/aba", 1.5), "1.5");
  ExpectRefused(With("/model/vocab/aba", 18446744073709551615u), "18446744073709551615");
  ExpectRefused(With("/added_tokens/0/id", 6), "<s>");
  ExpectRefused(With("/added_tokens/1/content", "<s>"), "twice");
  ExpectRefused(With("/added_tokens/1/content", ""), "empty");
}

TEST(TokenizerJson, MergesMustStayInsideTheVocabulary) {
  ExpectRefused(With("/model/merges/1", "a z"), "\"z\"");
  ExpectRefused(With("/model/merges/1", "b a"), "\"ba\"");
  ExpectRefused(With("/model/merges/1", "ab"), "ab");
  ExpectRefused(With("/model/merges/1", "a b c"), "a b c");
  ExpectRefused(With("/model/merges/1", json::array({"a"})), "[\"a\"]");
  ExpectRefused(With("/model/merges/1", 3), "3");
  ExpectRefused(With("/model/merges", "a b"), "merges");
}

TEST(TokenizerJson, ATemplateProcessorGivesWhatStandsAroundAText) {
  const char* processor = R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "</s>", "type_id": 0}}], "pair": [],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [4]}, "</s>": {"id": "</s>", "ids": [5]}}}]})";
  const absl::StatusOr<BpeSpec> spec = Read(With("/post_processor", json::parse(processor)));
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->prefix_ids, std::vector<int32_t>{4});
  EXPECT_EQ(spec->suffix_ids, std::vector<int32_t>{5});
}

TEST(TokenizerJson, TheOtherFilesNameTokensTemplateAndStopIds) {
  const absl::StatusOr<BpeSpec> spec = Read(Small(), R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>",
      "chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]})",
                                            R"({"eos_token_id": [3, 5]})");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->bos_id, 4);
  EXPECT_EQ(spec->eos_id, 5);
  EXPECT_EQ(spec->stop_ids, (std::vector<int32_t>{3, 5}));
  EXPECT_EQ(spec->chat_template, "y");
  EXPECT_FALSE(Read(Small(), R"({"eos_token": "<nowhere>"})").ok());
  EXPECT_FALSE(Read(Small(), "", R"({"eos_token_id": "</s>"})").ok());
}

TEST(TokenizerJson, CutOffAnywhereItIsAnErrorAndNothingWorse) {
  const std::string whole = Small().dump();
  for (size_t length = 0; length < whole.size(); ++length) {
    TokenizerFiles files;
    files.tokenizer_json = whole.substr(0, length);
    EXPECT_FALSE(TokenizerSpecFromJson(files).ok()) << length;
  }
}

constexpr char kMistral[] = R"({
  "version": "1.0", "normalizer": null, "post_processor": null,
  "added_tokens": [{"id": 0, "content": "<unk>", "special": true, "normalized": false},
                   {"id": 1, "content": "<s>", "special": true, "normalized": false}],
  "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false},
  "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
  "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": {"<unk>": 0, "<s>": 1, "▁": 2, "a": 3, "b": 4, "▁a": 5, "▁ab": 6},
            "merges": ["▁ a", "▁a b"]}
})";

constexpr char kReplace[] = R"({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})";
constexpr char kPrepend[] = R"({"type": "Prepend", "prepend": "▁"})";

json Mistral(const char* pointer = "", json value = json()) {
  json root = json::parse(kMistral);
  if (*pointer != 0) root[json::json_pointer(pointer)] = std::move(value);
  return root;
}

json WithNormalizers(std::vector<const char*> parts) {
  json root = Mistral("/pre_tokenizer", nullptr);
  json list = json::array();
  for (const char* part : parts) list.push_back(json::parse(part));
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", list}};
  return root;
}

TEST(SentencePieceJson, ItsSpellingsAreKnownApart) {
  using Prefix = SentencePieceRules::Prefix;
  const auto expect = [](const json& root, Prefix prefix, bool in_normalizer, bool split_words) {
    const absl::StatusOr<BpeSpec> spec = Read(root);
    ASSERT_TRUE(spec.ok()) << spec.status();
    ASSERT_TRUE(spec->sentencepiece.has_value());
    EXPECT_EQ(spec->sentencepiece->prefix, prefix) << root["pre_tokenizer"];
    EXPECT_EQ(spec->sentencepiece->in_normalizer, in_normalizer);
    EXPECT_EQ(spec->sentencepiece->split_words, split_words);
    EXPECT_EQ(spec->sentencepiece->unknown_id, 0);
  };
  expect(Mistral(), Prefix::kFirst, false, false);
  expect(Mistral("/pre_tokenizer/prepend_scheme", "always"), Prefix::kAlways, false, false);
  expect(Mistral("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "▁"}, {"add_prefix_space", false}}),
         Prefix::kNever, false, true);
  expect(WithNormalizers({kPrepend, kReplace}), Prefix::kAlways, true, false);
  expect(WithNormalizers({kReplace}), Prefix::kNever, true, false);
  json gemma = WithNormalizers({kReplace});
  gemma["pre_tokenizer"] = json::parse(
      R"({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false})");
  expect(gemma, Prefix::kNever, true, false);
}

TEST(SentencePieceJson, WhatIsNotKnownIsAnErrorThatPrintsIt) {
  ExpectRefused(Mistral("/pre_tokenizer/replacement", "_"), "\"_\"");
  ExpectRefused(Mistral("/pre_tokenizer/prepend_scheme", "sometimes"), "sometimes");
  ExpectRefused(Mistral("/pre_tokenizer/add_prefix_space", false), "add_prefix_space");
  ExpectRefused(Mistral("/normalizer", {{"type", "NFKC"}}), "NFKC");
  ExpectRefused(WithNormalizers({kReplace, kReplace}), "normalizer");
  ExpectRefused(WithNormalizers({R"({"type": "Prepend", "prepend": "x"})", kReplace}), "normalizer");
  ExpectRefused(WithNormalizers({kPrepend}), "normalizer");
  ExpectRefused(Mistral("/decoder", nullptr), "decoder");
  ExpectRefused(Mistral("/decoder/decoders/3/start", 2), "decoder");
  ExpectRefused(Mistral("/decoder/decoders/1/type", "WordPiece"), "WordPiece");
  ExpectRefused(Mistral("/model/unk_token", "<nowhere>"), "<nowhere>");
  json both = WithNormalizers({kReplace});
  both["pre_tokenizer"] = {{"type", "ByteLevel"}};
  ExpectRefused(both, "ByteLevel");
}

TEST(SentencePieceJson, CutOffAnywhereItIsAnErrorAndNothingWorse) {
  const std::string whole = Mistral().dump();
  for (size_t length = 0; length < whole.size(); ++length) {
    TokenizerFiles files;
    files.tokenizer_json = whole.substr(0, length);
    EXPECT_FALSE(TokenizerSpecFromJson(files).ok()) << length;
  }
}

TEST(TokenizerJson, AFileWithAnyByteChangedIsAnErrorOrATokenizer) {
  int loaded = 0;
  for (const std::string& whole : {Small().dump(), Mistral().dump()}) {
    for (size_t i = 0; i < whole.size(); ++i) {
      TokenizerFiles files;
      files.tokenizer_json = whole;
      files.tokenizer_json[i] = "0,\"}]x\x80"[i % 7];
      absl::StatusOr<BpeSpec> spec = TokenizerSpecFromJson(files);
      if (!spec.ok()) continue;
      const absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Create(*std::move(spec));
      ASSERT_TRUE(tokenizer.ok()) << files.tokenizer_json << tokenizer.status();
      tokenizer->Decode(tokenizer->Encode("ab <s>\u4e2d", {.allow_special = true}));
      ++loaded;
    }
  }
  EXPECT_GT(loaded, 10);
}

// Merges may repeat, go round in circles as far as the vocabulary has words for it, or join what nothing starts from.
TEST(TokenizerJson, MergesThatLeadNowhereEndAllTheSame) {
  json root = Small();
  root["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"ab", 2}, {"ba", 3}, {"aba", 4}, {"", 5}};
  root["model"]["merges"] = json::parse(R"(["a b", "b a", "ab a", "a ba", "a b", ["", "a"], ["a", ""], ["", ""]])");
  root["added_tokens"] = json::array();
  absl::StatusOr<BpeSpec> spec = Read(root);
  ASSERT_TRUE(spec.ok()) << spec.status();
  const Tokenizer tokenizer = *Tokenizer::Create(*std::move(spec));
  std::string text;
  for (int i = 0; i < 1000; ++i) text += i % 3 == 0 ? "ab" : "ba";
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text);
}

TEST(TokenizerJson, ADirectoryWithoutTheFileIsAnErrorWithItsPath) {
  const absl::Status status = ReadTokenizerFiles(testing::TempDir() + "/nowhere").status();
  EXPECT_NE(status.message().find("nowhere/tokenizer.json"), absl::string_view::npos) << status;
}

TEST(TokenizerJson, ADirectoryIsReadFileByFile) {
  const std::string directory = testing::TempDir();
  std::ofstream(directory + "/tokenizer.json") << kSmall;
  std::ofstream(directory + "/generation_config.json") << R"({"eos_token_id": 5})";
  const absl::StatusOr<TokenizerFiles> files = ReadTokenizerFiles(directory);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_TRUE(files->tokenizer_config_json.empty());
  EXPECT_EQ(TokenizerSpecFromJson(*files)->eos_id, 5);
}

TEST(Json, DuplicateKeysDeepNestingAndIllFormedTextAreRefused) {
  EXPECT_FALSE(ParseJson(R"({"a": 1, "a": 2})").ok());
  EXPECT_FALSE(ParseJson(R"({"x": {"a": 1, "b": 2, "a": 3}})").ok());
  EXPECT_FALSE(ParseJson(std::string(1000000, '[')).ok());
  EXPECT_FALSE(ParseJson(std::string(65, '[') + std::string(65, ']')).ok());
  EXPECT_TRUE(ParseJson(std::string(64, '[') + std::string(64, ']')).ok());
  EXPECT_FALSE(ParseJson("\"\xFF\"").ok());
  EXPECT_FALSE(ParseJson(R"("\ud800")").ok());
  EXPECT_FALSE(ParseJson(R"("\ud800\u0041")").ok());
  EXPECT_FALSE(ParseJson("1e999").ok());
  EXPECT_FALSE(ParseJson("{} x").ok());
  EXPECT_FALSE(ParseJson("").ok());
}

TEST(Json, ValuesEqualThoseOfTheLibrarysOwnParser) {
  const char* text =
      R"( {"a": [1, -2, 3.5, true, null, "\u0000\ud83d\ude00", {}], "b": {"a": [[]]}, "c": 18446744073709551615} )";
  const absl::StatusOr<json> value = ParseJson(text);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(*value, json::parse(text));
  EXPECT_EQ(*ParseJson("\xEF\xBB\xBF[1]"), json::parse("[1]"));
}

GgufTokenizerMetadata SmallGguf() {
  GgufTokenizerMetadata m;
  m.model = "gpt2";
  m.pre = "qwen2";
  m.tokens = {"<u>", "a", "b", "ab", "<s>", "<tool>", "[PAD6]", "[PAD7]"};
  m.token_type = {3, 1, 1, 1, 3, 4, 5, 5};
  m.merges = {"a b"};
  m.bos_token_id = m.eos_token_id = 4;
  return m;
}

TEST(GgufSpec, ControlTokensBecomeSpecialAndPaddingIsLeftOut) {
  const absl::StatusOr<BpeSpec> spec = TokenizerSpecFromGguf(SmallGguf());
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->vocab, (std::vector<std::string>{"<u>", "a", "b", "ab"}));
  EXPECT_EQ(spec->num_tokens(), 6);
  EXPECT_EQ(spec->padded_vocab_size, 8);
  EXPECT_EQ(spec->normalizer, Normalizer::kNfc);
  const Tokenizer tokenizer = *Tokenizer::Create(*spec);
  EXPECT_EQ(tokenizer.Encode("ab<s><tool>", {.allow_special = true}), (std::vector<int32_t>{3, 4, 5}));
  EXPECT_TRUE(tokenizer.IsSpecial(4));
  EXPECT_FALSE(tokenizer.IsSpecial(5));
  EXPECT_TRUE(spec->prefix_ids.empty());
}

TEST(GgufSpec, Llama3BeginsWithBosUnlessTheFileSaysOtherwise) {
  GgufTokenizerMetadata m = SmallGguf();
  m.pre = "llama-bpe";
  EXPECT_EQ(TokenizerSpecFromGguf(m)->prefix_ids, std::vector<int32_t>{4});
  EXPECT_TRUE(TokenizerSpecFromGguf(m)->ignore_merges);
  m.add_bos_token = false;
  EXPECT_TRUE(TokenizerSpecFromGguf(m)->prefix_ids.empty());
  m.pre = "tekken", m.add_bos_token = {};
  EXPECT_EQ(TokenizerSpecFromGguf(m)->prefix_ids, std::vector<int32_t>{4});
  EXPECT_TRUE(TokenizerSpecFromGguf(m)->ignore_merges);
  m.pre = "gpt-4o";
  EXPECT_TRUE(TokenizerSpecFromGguf(m)->prefix_ids.empty());
  EXPECT_FALSE(TokenizerSpecFromGguf(m)->ignore_merges);
}

template <typename Change>
void ExpectGgufRefused(Change change, absl::string_view reason) {
  GgufTokenizerMetadata m = SmallGguf();
  change(m);
  const absl::StatusOr<BpeSpec> spec = TokenizerSpecFromGguf(m);
  ASSERT_FALSE(spec.ok()) << "expected: " << reason;
  EXPECT_NE(spec.status().message().find(reason), absl::string_view::npos) << spec.status();
}

TEST(GgufSpec, WhatTheFileGetsWrongIsAnErrorThatNamesTheKey) {
  ExpectGgufRefused([](auto& m) { m.model = "bert"; }, "bert");
  ExpectGgufRefused([](auto& m) { m.pre = "gpt-neox"; }, "gpt-neox");
  ExpectGgufRefused([](auto& m) { m.add_space_prefix = true; }, "add_space_prefix");
  ExpectGgufRefused([](auto& m) { m.token_type.pop_back(); }, "token_type");
  ExpectGgufRefused([](auto& m) { m.merges = {"a  b"}; }, "merges");
  ExpectGgufRefused([](auto& m) { m.merges = {"a x"}; }, "\"x\"");
  ExpectGgufRefused([](auto& m) { m.eos_token_id = 6; }, "eos_token_id");
  ExpectGgufRefused([](auto& m) { m.bos_token_id = -1; }, "bos_token_id");
  ExpectGgufRefused([](auto& m) { m.tokens[1] = "b"; }, "twice");
  ExpectGgufRefused([](auto& m) { m.tokens.clear(), m.token_type.clear(), m.merges.clear(); }, "0 tokens");
}

}  // namespace
}  // namespace lorikeet::text
