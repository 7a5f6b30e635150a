#include "apps/model/merge_forms.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/model/adapted_model.h"
#include "apps/model/logit_error.h"
#include "apps/model/open_model.h"
#include "apps/model/readout.h"
#include "apps/text/dataset.h"
#include "apps/training/evaluate.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

const std::vector<text::Example> kExamples = {{{5, 3, 80, 41, 7, 7, 12, 90}, {0, 0, 1, 1, 1, 0, 1, 1}, 1},
                                              {{1, 60, 2}, {0, 1, 1}, 2}};

struct Case {
  const char *model, *adapter;
  bool four_bits;
};
constexpr Case kCases[] = {{"llama_untied", "lora", false},
                           {"qwen2", "dora", false},
                           {"llama_untied", "qlora", true},
                           {"qwen2", "qdora", true}};

AdaptedModel Open(const Case& c) {
  absl::StatusOr<AdaptedModel> m =
      OpenAdaptedModel(TinyModel(c.model), absl::StrCat("tests/golden/adapters/", c.adapter),
                       {.use = c.four_bits ? WeightUse::kQuantized : WeightUse::kFrozen});
  EXPECT_TRUE(m.ok()) << m.status();
  return *std::move(m);
}

TEST(ReadoutTest, LossIsEvaluateLosssAndTheLogitsAreTheLast) {
  const AdaptedModel m = Open(kCases[0]);
  const Readout r = ReadModel(*m.base.lm, kExamples, 4);
  const EvalResult want = EvaluateLoss(*m.base.lm, kExamples, 1);
  EXPECT_EQ(r.tokens, want.counts.tokens);
  EXPECT_NEAR(r.perplexity(), want.perplexity(), 1e-4 * want.perplexity());
  const std::vector<Tensor> last = LastLogits(*m.base.lm, {kExamples[0].tokens, kExamples[1].tokens}, 4);
  const LogitError e = CompareLogits(last, r.logits);
  EXPECT_TRUE(e.max <= 1e-5) << e.max;
  EXPECT_EQ(e.positions, 7);
}

TEST(MergeFormsTest, InF32TheFormThatTheAdapterWasTrainedOverComputesTheSame) {
  for (const Case& c : kCases) {
    const AdaptedModel m = Open(c);
    const Readout adapted = ReadModel(*m.base.lm, kExamples, 4);
    const auto forms = TryForms(*m.base.lm, m.base.files->weights(),
                                {.dtype = DType::kF32, .four_bit_base = c.four_bits}, kExamples, adapted, 4);
    ASSERT_TRUE(forms.ok()) << forms.status();
    ASSERT_EQ(forms->size(), 3u);
    const FormResult &same = (*forms)[c.four_bits ? 1 : 0], &other = (*forms)[c.four_bits ? 0 : 1];
    EXPECT_TRUE(same.error.max <= 2e-4) << c.adapter << " " << same.error.max;
    EXPECT_NEAR(same.perplexity, adapted.perplexity(), 1e-3 * adapted.perplexity());
    EXPECT_TRUE(other.error.mean > 20 * same.error.mean) << c.adapter;
    EXPECT_TRUE((*forms)[2].error.mean > 20 * same.error.mean) << c.adapter;
  }
}

TEST(MergeFormsTest, AfterwardsTheModelIsWhatItWas) {
  for (const Case& c : kCases) {
    const AdaptedModel m = Open(c);
    const Readout before = ReadModel(*m.base.lm, kExamples, 8);
    {
      FormedModel formed(*m.base.lm, m.base.files->weights(), {.form = MergeForm::kFourBitsAgain});
      EXPECT_TRUE(CompareLogits(before.logits, ReadModel(*m.base.lm, kExamples, 8).logits).max > 0);
      EXPECT_TRUE(formed.status().ok()) << formed.status();
    }
    EXPECT_EQ(CompareLogits(before.logits, ReadModel(*m.base.lm, kExamples, 8).logits).max, 0);
  }
}

TEST(MergeFormsTest, AWeightThatCannotBeMadeIsReported) {
  const AdaptedModel m = Open(kCases[0]);
  FormedModel formed(*m.base.lm, m.base.files->weights(), {.form = MergeForm::kOverFourBits, .quant = {.block = 7}});
  EXPECT_TRUE(formed.status().ok());
  ReadModel(*m.base.lm, kExamples, 1);
  EXPECT_TRUE(absl::StrContains(formed.status().message(), "7")) << formed.status();
}

TEST(MergeFormsTest, TheNearerSixteenBitFormIsRecommended) {
  Readout adapted;
  adapted.loss_sum = std::log(10.0), adapted.tokens = 1;
  std::vector<FormResult> results = {{MergeForm::kSixteenBits, {.max = 1, .mean = 0.1}, 10.1},
                                     {MergeForm::kOverFourBits, {.max = 2, .mean = 0.2}, 10.2},
                                     {MergeForm::kFourBitsAgain, {.max = 3, .mean = 0.3}, 10.05}};
  std::string text = FormReport(results, adapted, {.four_bit_base = false});
  EXPECT_TRUE(absl::StrContains(text, "over the 16-bit weights (without --load_in_4bit), as here")) << text;
  EXPECT_TRUE(absl::StrContains(text, "4 bits again would do as well, perplexity +0.50%")) << text;
  results[1].error.mean = 0.01, results[2].perplexity = 12;
  text = FormReport(results, adapted, {.four_bit_base = false});
  EXPECT_TRUE(absl::StrContains(text, "(--load_in_4bit), which is not what was merged here")) << text;
  EXPECT_TRUE(absl::StrContains(text, "4 bits again would lose too much, perplexity +20.00%")) << text;
}

}  // namespace
}  // namespace lorikeet
