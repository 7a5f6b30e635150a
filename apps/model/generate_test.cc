#include "apps/model/generate.h"

#include <algorithm>
#include <string>
#include <vector>

#include "apps/model/logit_error.h"
#include "apps/model/open_model.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "peft/adapter_config.h"
#include "peft/inject.h"
#include "tensor/dtype.h"
#include "tensor/random.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

OpenedModel Tiny() {
  absl::StatusOr<OpenedModel> m = OpenModel(TinyModel("llama_untied"), {});
  EXPECT_TRUE(m.ok()) << m.status();
  return *std::move(m);
}

void Ignore(absl::string_view) {}

// Greedy continuation without a cache: the whole sequence through the model for every token.
std::vector<int32_t> Uncached(const OpenedModel& m, std::vector<int32_t> ids, int64_t count) {
  const size_t prompt = ids.size();
  for (int64_t i = 0; i < count; ++i) {
    const Tensor logits = LastLogits(*m.lm, {ids}, 1)[0];
    const absl::Span<const float> row = logits.data<float>();
    ids.push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
  }
  return {ids.begin() + static_cast<std::ptrdiff_t>(prompt), ids.end()};
}

TEST(GeneratorTest, GreedyTokensAreThoseOfTheWholeSequenceRunAgainEachTime) {
  const OpenedModel m = Tiny();
  Generator generator(m.lm.get(), m.tokenizer.get(), 64);
  const std::vector<int32_t> prompt = m.tokenizer->Encode("How many?");
  const absl::StatusOr<Generation> g = generator.Generate(prompt, {.max_tokens = 20}, Ignore);
  ASSERT_TRUE(g.ok()) << g.status();
  EXPECT_EQ(g->tokens, Uncached(m, prompt, static_cast<int64_t>(g->tokens.size())));
  EXPECT_EQ(g->tokens.size(), 20u);
}

TEST(GeneratorTest, TextIsStreamedAndEqualsTheTokensText) {
  const OpenedModel m = Tiny();
  Generator generator(m.lm.get(), m.tokenizer.get(), 64);
  std::string shown;
  int pieces = 0;
  const absl::StatusOr<Generation> g =
      generator.Generate(m.tokenizer->Encode("abc"), {.max_tokens = 8}, [&](absl::string_view text) {
        shown.append(text.data(), text.size());
        ++pieces;
      });
  ASSERT_TRUE(g.ok()) << g.status();
  EXPECT_EQ(shown, m.tokenizer->Decode(g->tokens));
  EXPECT_EQ(g->text, shown);
  EXPECT_EQ(pieces, 8);
}

TEST(GeneratorTest, AnAdaptersFactorsAreCastOnce) {
  absl::StatusOr<OpenedModel> m = OpenModel(TinyModel("llama_untied"), {.compute_dtype = DType::kBF16});
  ASSERT_TRUE(m.ok()) << m.status();
  ASSERT_TRUE(Inject(*m->lm, AdapterConfig{}, RngKey{.seed = 1}, nullptr).ok());
  const std::vector<Parameter*> factors = TrainableParameters(*m->lm);
  {
    Generator generator(m->lm.get(), m->tokenizer.get(), 64);
    for (const Parameter* p : factors) EXPECT_TRUE(p->cast.defined()) << p->name;
    EXPECT_TRUE(generator.Generate({1, 2}, {.max_tokens = 3}, Ignore).ok());
  }
  for (const Parameter* p : factors) EXPECT_FALSE(p->cast.defined()) << p->name;
}

TEST(GeneratorTest, APromptThatContinuesTheLastOneCostsOnlyWhatIsNew) {
  const OpenedModel m = Tiny();
  Generator kept(m.lm.get(), m.tokenizer.get(), 64), fresh(m.lm.get(), m.tokenizer.get(), 64);
  std::vector<int32_t> ids = m.tokenizer->Encode("first question");
  const absl::StatusOr<Generation> first = kept.Generate(ids, {.max_tokens = 6}, Ignore);
  ASSERT_TRUE(first.ok());
  ids.insert(ids.end(), first->tokens.begin(), first->tokens.end());
  for (int32_t id : m.tokenizer->Encode("next")) ids.push_back(id);
  const int64_t before = kept.stats().prompt_tokens;
  const absl::StatusOr<Generation> a = kept.Generate(ids, {.max_tokens = 6}, Ignore);
  const absl::StatusOr<Generation> b = fresh.Generate(ids, {.max_tokens = 6}, Ignore);
  EXPECT_EQ(a->tokens, b->tokens);
  EXPECT_EQ(kept.stats().prompt_tokens - before, 5);  // "next" and the last token of the answer
}

TEST(GeneratorTest, AnotherPromptForgetsTheLastOne) {
  const OpenedModel m = Tiny();
  Generator kept(m.lm.get(), m.tokenizer.get(), 64), fresh(m.lm.get(), m.tokenizer.get(), 64);
  ASSERT_TRUE(kept.Generate(m.tokenizer->Encode("one thing"), {.max_tokens = 6}, Ignore).ok());
  const std::vector<int32_t> ids = m.tokenizer->Encode("one other");
  EXPECT_EQ(kept.Generate(ids, {.max_tokens = 6}, Ignore)->tokens,
            fresh.Generate(ids, {.max_tokens = 6}, Ignore)->tokens);
}

TEST(GeneratorTest, AStopTokenEndsAndIsNotShown) {
  const OpenedModel m = Tiny();
  Generator generator(m.lm.get(), m.tokenizer.get(), 64);
  const std::vector<int32_t> prompt = m.tokenizer->Encode("abc");
  const std::vector<int32_t> all = Uncached(m, prompt, 10);
  const absl::StatusOr<Generation> g = generator.Generate(prompt, {.max_tokens = 10, .stop_ids = {all[4]}}, Ignore);
  const size_t first = static_cast<size_t>(std::find(all.begin(), all.end(), all[4]) - all.begin());
  EXPECT_EQ(g->reason, StopReason::kStopToken);
  EXPECT_EQ(g->tokens, std::vector<int32_t>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(first)));
}

TEST(GeneratorTest, AStopStringAcrossTokensEndsTheText) {
  const OpenedModel m = Tiny();
  Generator generator(m.lm.get(), m.tokenizer.get(), 64);
  const std::vector<int32_t> prompt = m.tokenizer->Encode("abc");
  const std::string all = m.tokenizer->Decode(Uncached(m, prompt, 10));
  const std::string stop = all.substr(4, 3);
  const absl::StatusOr<Generation> g = generator.Generate(prompt, {.max_tokens = 10, .stop = {stop}}, Ignore);
  EXPECT_EQ(g->reason, StopReason::kStopString);
  EXPECT_EQ(g->text, all.substr(0, all.find(stop)));
}

TEST(GeneratorTest, AFullContextEndsTheAnswerAndRefusesALongerPrompt) {
  const OpenedModel m = Tiny();
  Generator generator(m.lm.get(), m.tokenizer.get(), 8);
  const absl::StatusOr<Generation> g = generator.Generate(m.tokenizer->Encode("abcde"), {.max_tokens = 50}, Ignore);
  ASSERT_TRUE(g.ok()) << g.status();
  EXPECT_EQ(g->reason, StopReason::kContextFull);
  EXPECT_EQ(g->tokens.size(), 4u);  // the last one was not fed any more
  const absl::StatusOr<Generation> refused = generator.Generate(m.tokenizer->Encode("abcdefgh"), {}, Ignore);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(refused.status().message()).find("--context_length"), std::string::npos);
}

TEST(GeneratorTest, SamplingIsAFunctionOfTheSeed) {
  const OpenedModel m = Tiny();
  const std::vector<int32_t> prompt = m.tokenizer->Encode("abc");
  const auto run = [&](uint64_t seed) {
    Generator generator(m.lm.get(), m.tokenizer.get(), 64);
    return generator.Generate(prompt, {.max_tokens = 30, .sampler = {.temperature = 1, .seed = seed}}, Ignore)->tokens;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(GeneratorTest, AnEmptyPromptAndAnIdOutsideTheVocabularyAreErrors) {
  const OpenedModel m = Tiny();
  Generator generator(m.lm.get(), m.tokenizer.get(), 64);
  EXPECT_EQ(generator.Generate({}, {}, Ignore).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(generator.Generate({97}, {}, Ignore).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lorikeet
