#include "apps/training/exact_match.h"

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apps/model/generate.h"
#include "apps/model/open_model.h"
#include "apps/text/dataset.h"
#include "gtest/gtest.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

TEST(ExactMatchTest, ComparesWithoutSpaceAroundOrAfterAMark) {
  EXPECT_EQ(ComparedPart("  a b\n", ""), "a b");
  EXPECT_EQ(ComparedPart("3 + 4 = 7\n#### 7 ", "####"), "7");
  EXPECT_EQ(ComparedPart("#### 1 #### 2", "####"), "2");
  EXPECT_EQ(ComparedPart("seven", "####"), "");
}

TEST(ExactMatchTest, CountsWhatTheModelItselfAnswers) {
  const absl::StatusOr<OpenedModel> model = OpenModel(TinyModel("llama_untied"), {});
  ASSERT_TRUE(model.ok()) << model.status();
  Generator generator(model->lm.get(), model->tokenizer.get(), 64);
  const std::vector<int32_t> prompt = {5, 9, 13};
  const absl::StatusOr<Generation> g = generator.Generate(prompt, {.max_tokens = 6}, [](absl::string_view) {});
  ASSERT_TRUE(g.ok()) << g.status();
  ASSERT_FALSE(g->tokens.empty());
  text::Example right, wrong;
  right.tokens = wrong.tokens = prompt;
  right.loss_mask = wrong.loss_mask = {0, 0, 0};
  for (const int32_t id : g->tokens) {
    right.tokens.push_back(id);
    wrong.tokens.push_back(id % 90 + 1);
    right.loss_mask.push_back(1);
    wrong.loss_mask.push_back(1);
  }
  const absl::StatusOr<ExactMatchResult> r =
      ExactMatch(*model->lm, *model->tokenizer, {right, wrong, right}, {.answer_after = "", .max_tokens = 6});
  ASSERT_TRUE(r.ok()) << r.status();
  EXPECT_EQ(r->rows, 3);
  EXPECT_EQ(r->matches, 2);
  EXPECT_NEAR(r->standard_error(), 0.2722, 1e-4);
}

}  // namespace
}  // namespace lorikeet
