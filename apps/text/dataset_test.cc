#include "apps/text/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/text/batches.h"
#include "apps/text/bpe_trainer.h"
#include "apps/text/chat_template.h"
#include "apps/text/permutation.h"
#include "apps/text/tokenizer.h"
#include "tensor/random.h"

namespace lorikeet::text {
namespace {

// One token a byte, and ChatML's markers.
BpeSpec ByteSpec() { return BpeTrainer({.vocab_size = 0, .special_tokens = {"<|im_start|>", "<|im_end|>"}}).Train(); }

class DatasetTest : public testing::Test {
 protected:
  absl::StatusOr<Dataset> Load(const std::string& content, const DatasetOptions& options = {}) {
    path_ = testing::TempDir() + "/rows.jsonl";
    std::ofstream(path_, std::ios::binary) << content;
    return LoadDataset(path_, tokenizer_, chat_, options);
  }
  // The error of loading content, which must hold the line number and every reason.
  void ExpectError(const std::string& content, int line, std::vector<std::string> reasons) {
    const absl::Status status = Load(content).status();
    ASSERT_FALSE(status.ok()) << content.substr(0, 100);
    if (line > 0) reasons.push_back(absl::StrCat("rows.jsonl:", line, ":"));
    for (const std::string& reason : reasons) {
      EXPECT_NE(status.message().find(reason), absl::string_view::npos) << status << "\n lacks " << reason;
    }
  }
  std::string TextOf(const Example& example) { return tokenizer_.Decode(example.tokens); }
  std::string TargetsOf(const Example& example) {
    std::vector<int32_t> targets;
    for (size_t i = 0; i < example.tokens.size(); ++i) {
      if (example.loss_mask[i]) targets.push_back(example.tokens[i]);
    }
    return tokenizer_.Decode(targets);
  }

  const Tokenizer tokenizer_ = *Tokenizer::Create(ByteSpec());
  const ChatTemplate chat_ = *ChatTemplate::ForTokenizer(ByteSpec(), "chatml");
  std::string path_;
};

TEST_F(DatasetTest, EveryFormIsRecognisedByItsKeys) {
  const absl::StatusOr<Dataset> data = Load(R"({"prompt": "p", "completion": "c"}
{"question": "p", "answer": "c", "id": 7}
{"instruction": "p", "input": "", "output": "c"}
{"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "c"}]}
{"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}]}
)");
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->examples.size(), 5u);
  for (const Example& example : data->examples) {
    EXPECT_EQ(TextOf(example), "<|im_start|>user\np<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n");
    EXPECT_EQ(TargetsOf(example), "c<|im_end|>");
  }
}

TEST_F(DatasetTest, RunningTextIsAllTargetsButItsFirstToken) {
  const absl::StatusOr<Dataset> data = Load(R"({"text": "abc"})");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(TargetsOf(data->examples[0]), "bc<|im_start|>");  // the trainer's EOS
}

TEST_F(DatasetTest, InputAndSystemAreWovenIn) {
  const absl::StatusOr<Dataset> data = Load(R"({"instruction": "Add.", "input": "1 2", "output": "3", "system": "S"})");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(TextOf(data->examples[0]),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nAdd.\n\n1 2<|im_end|>\n"
            "<|im_start|>assistant\n3<|im_end|>\n");
}

TEST_F(DatasetTest, EveryAnswerOfAConversationHasLossAndPromptsOnlyIfAskedFor) {
  const std::string row = R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
      {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]})";
  std::string line = row;
  line.erase(std::remove(line.begin(), line.end(), '\n'), line.end());
  EXPECT_EQ(TargetsOf(Load(line)->examples[0]), "b<|im_end|>d<|im_end|>");
  const Example all = Load(line, {.train_on_prompt = true})->examples[0];
  EXPECT_EQ(all.num_targets(), static_cast<int64_t>(all.tokens.size()) - 1);
}

TEST_F(DatasetTest, ControlTokensInRowsStayText) {
  const Example example = Load(R"({"prompt": "<|im_end|>", "completion": "<|im_start|>"})")->examples[0];
  EXPECT_EQ(std::count(example.tokens.begin(), example.tokens.end(), 0), 2);  // the template's two <|im_start|>
}

TEST_F(DatasetTest, LineEndsMarksAndEmptyLinesDoNotMatter) {
  const std::string row = R"({"text": "a\u0000b"})";
  const absl::StatusOr<Dataset> data = Load("\xEF\xBB\xBF" + row + "\r\n\r\n  \n" + row + "\n" + row);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->stats.rows, 3);
  EXPECT_EQ(data->examples[2].line, 5);
  EXPECT_EQ(data->examples[0].tokens, data->examples[2].tokens);
}

TEST_F(DatasetTest, BadRowsAreErrorsWithTheirLineAndReason) {
  const std::string good = "{\"text\": \"a\"}\n";
  ExpectError(good + "{\"body\": 1, \"title\": 2}", 2, {"body, title", "{question, answer}"});
  ExpectError(good + "\n{\"text\": 1}", 3, {"\"text\" is a number, expected a string"});
  ExpectError("[1]", 1, {"an array"});
  ExpectError("{\"text\": \"a\"", 1, {"JSON"});
  ExpectError("{\"text\": \"a\", \"text\": \"b\"}", 1, {"twice"});
  ExpectError("{\"text\": \"\xFF\"}", 1, {"JSON"});
  ExpectError("{\"text\": \"\\ud800\"}", 1, {"surrogate"});
  ExpectError(std::string("{\"text\": \"a\0b\"}", 15), 1, {"JSON"});
  ExpectError("{\"text\": " + std::string(1000000, '['), 1, {"nested"});
  ExpectError(R"({"messages": [{"role": "user", "content": "x"}, {"role": "judge", "content": "x"}]})", 1,
              {"[1]", "judge"});
  ExpectError(R"({"messages": [{"role": "user", "content": [{"type": "image"}]}]})", 1, {"\"content\" is an array"});
  ExpectError(R"({"messages": "x"})", 1, {"\"messages\" is a string"});
  ExpectError(R"({"conversations": [{"value": "x"}]})", 1, {"\"from\" is missing"});
  ExpectError("", 0, {"no rows"});
  ExpectError("\n \n", 0, {"no rows"});
}

TEST_F(DatasetTest, BadRowsCanBeSkippedAndAreCounted) {
  const absl::StatusOr<Dataset> data = Load("{}\n{\"text\": \"a\"}\nnot json\n", {.skip_bad_rows = true});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->stats.bad, 2);
  EXPECT_NE(data->stats.first_bad.message().find(":1:"), absl::string_view::npos);
  EXPECT_FALSE(Load("{}\n", {.skip_bad_rows = true}).ok());
}

TEST_F(DatasetTest, AHugeLineIsAnErrorInBoundedMemory) {
  const absl::Status status = Load("{\"text\": \"a\"}\n" + std::string(5000, 'x'), {.max_line_bytes = 4096}).status();
  EXPECT_NE(status.message().find(":2: the line is longer than 4096 bytes"), absl::string_view::npos) << status;
}

TEST_F(DatasetTest, RowsAreCutAndThoseWithoutAnAnswerTokenDropped) {
  const std::string prompt = R"({"prompt": "0123456789", "completion": "c"})"
                             "\n";
  const int64_t header = static_cast<int64_t>(tokenizer_.Encode("xuser\n0123456789x\nxassistant\n").size());
  const absl::StatusOr<Dataset> cut = Load(prompt, {.max_seq_length = header + 1});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(TargetsOf(cut->examples[0]), "c");
  EXPECT_EQ(cut->stats.truncated, 1);
  const absl::StatusOr<Dataset> dropped = Load(prompt + "{\"text\": \"ab\"}", {.max_seq_length = header});
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  EXPECT_EQ(dropped->stats.dropped, 1);
  EXPECT_EQ(dropped->examples.size(), 1u);
  EXPECT_FALSE(Load(prompt, {.max_seq_length = header}).ok());
  EXPECT_FALSE(Load(prompt, {.max_seq_length = 1}).ok());
}

TEST_F(DatasetTest, AMissingFileIsAnErrorWithItsPath) {
  const absl::Status status = LoadDataset("/nowhere/x.jsonl", tokenizer_, chat_, {}).status();
  EXPECT_NE(status.message().find("/nowhere/x.jsonl"), absl::string_view::npos) << status;
  EXPECT_FALSE(LoadDataset(testing::TempDir(), tokenizer_, chat_, {}).ok());
}

Dataset Numbered(int n, int length = 3) {
  Dataset data;
  for (int i = 0; i < n; ++i) {
    const size_t size = static_cast<size_t>(length + i % 5);
    data.examples.push_back({std::vector<int32_t>(size, i), std::vector<uint8_t>(size, 1), i});
    data.examples.back().loss_mask[0] = 0;
  }
  return data;
}

TEST(SplitDataset, TheSidesAreDisjointTogetherWholeAndAFunctionOfTheSeed) {
  const auto [train, eval] = SplitDataset(Numbered(100), 0.2, 1);
  EXPECT_EQ(eval.examples.size(), 20u);
  std::set<int64_t> lines;
  for (const Dataset* side : {&train, &eval}) {
    for (const Example& example : side->examples) EXPECT_TRUE(lines.insert(example.line).second);
  }
  EXPECT_EQ(lines.size(), 100u);
  const auto lines_of = [](const Dataset& data) {
    std::vector<int64_t> found;
    for (const Example& example : data.examples) found.push_back(example.line);
    return found;
  };
  EXPECT_EQ(lines_of(SplitDataset(Numbered(100), 0.2, 1).second), lines_of(eval));
  EXPECT_NE(lines_of(SplitDataset(Numbered(100), 0.2, 2).second), lines_of(eval));
}

TEST(SplitDataset, NeverTakesAllAndTakesOneOfFew) {
  EXPECT_EQ(SplitDataset(Numbered(3), 0.01, 1).second.examples.size(), 1u);
  EXPECT_EQ(SplitDataset(Numbered(3), 1.0, 1).first.examples.size(), 1u);
  EXPECT_EQ(SplitDataset(Numbered(1), 0.5, 1).second.examples.size(), 0u);
  EXPECT_EQ(SplitDataset(Numbered(3), 0, 1).second.examples.size(), 0u);
}

TEST(Permute, IsAPermutationForEverySizeAndDependsOnTheKey) {
  for (int64_t n : {1, 2, 3, 4, 5, 16, 17, 1000, 4097}) {
    std::set<int64_t> seen;
    for (int64_t i = 0; i < n; ++i) seen.insert(Permute(RngKey{7, 1}, n, i));
    EXPECT_EQ(static_cast<int64_t>(seen.size()), n);
    EXPECT_TRUE(*seen.begin() == 0 && *seen.rbegin() == n - 1);
  }
  EXPECT_NE(Permute(RngKey{7, 1}, 1 << 20, 5), Permute(RngKey{8, 1}, 1 << 20, 5));
}

// Every item falls on every place about equally often: chi-squared with 80 degrees of freedom, far tail.
TEST(Permute, EveryItemFallsOnEveryPlaceAboutEquallyOften) {
  constexpr int kItems = 9, kTrials = 9000;
  double counts[kItems][kItems] = {};
  for (uint64_t t = 0; t < kTrials; ++t) {
    for (int i = 0; i < kItems; ++i) ++counts[i][Permute(RngKey{t, 3}, kItems, i)];
  }
  double chi_squared = 0;
  for (const auto& row : counts) {
    for (const double count : row)
      chi_squared += (count - kTrials / kItems) * (count - kTrials / kItems) * kItems / kTrials;
  }
  EXPECT_LT(chi_squared, 140);
}

TEST(SequenceStream, EveryEpochHoldsEveryExampleOnceInAnotherOrder) {
  const Dataset data = Numbered(50);
  for (const bool packing : {false, true}) {
    const SequenceStream stream(&data.examples, {.max_seq_length = 16, .packing = packing});
    std::vector<std::vector<int64_t>> epochs(2);
    for (int64_t i = 0; i < 2 * stream.sequences_per_epoch(); ++i) {
      for (const int64_t e : stream.Sequence(i)) epochs[i / stream.sequences_per_epoch()].push_back(e);
    }
    EXPECT_NE(epochs[0], epochs[1]);
    for (std::vector<int64_t>& epoch : epochs) {
      std::sort(epoch.begin(), epoch.end());
      EXPECT_EQ(epoch.size(), 50u);
      EXPECT_EQ(std::unique(epoch.begin(), epoch.end()), epoch.end());
    }
  }
}

TEST(SequenceStream, PacksAreFullAndNeverTooLong) {
  const Dataset data = Numbered(200);  // 1000 tokens in examples of 3 to 7
  const SequenceStream stream(&data.examples, {.max_seq_length = 32, .packing = true});
  EXPECT_LE(stream.sequences_per_epoch(), 33);  // 32 would be perfect
  for (int64_t i = 0; i < stream.sequences_per_epoch(); ++i) EXPECT_LE(stream.Get(i, 1).tokens.size(), 32u);
}

TEST(SequenceStream, ABatchIsAFunctionOfItsIndexAlone) {
  const Dataset data = Numbered(20);
  const SequenceStream a(&data.examples, {.packing = true, .seed = 5}), b(&data.examples, {.packing = true, .seed = 5});
  for (int64_t i = 0; i < 30; ++i) a.Get(i, 2);
  EXPECT_EQ(a.Get(17, 3).tokens, b.Get(17, 3).tokens);
}

TEST(MakeBatch, TargetsAreTheNextTokensOfTheSameDocument) {
  const Example x = {{1, 2, 3}, {0, 0, 1}, 1}, y = {{4, 5}, {0, 1}, 2};
  const Batch batch = MakeBatch({&x, &y});
  EXPECT_EQ(batch.tokens, (std::vector<int32_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{-1, 3, -1, 5, -1}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(batch.cu_seqlens, (std::vector<int32_t>{0, 3, 5}));
  EXPECT_EQ(batch.num_targets(), 2);
}

}  // namespace
}  // namespace lorikeet::text
