// A real model of another family against transformers: Gemma 3 270M, out of its GGUF file, tokenizer and weights.
// Goldens: tests/golden/gemma3_270m (make_gemma3.py).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/model/open_model.h"
#include "apps/text/tokenizer.h"
#include "gtest/gtest.h"
#include "tensor/io/safetensors.h"
#include "tensor/tensor.h"
#include "tests/testing/golden_text.h"
#include "tests/testing/model_cache.h"

namespace lorikeet {
namespace {

constexpr int64_t kPrompts = 5, kGreedyPrompts = 4, kGreedy = 32;
constexpr double kTolerance = 1e-5;  // of the largest logit

class Gemma3Test : public testing::Test {
 protected:
  void SetUp() override {
    if (CachedModel("gemma3-270m.gguf").empty()) GTEST_SKIP() << kGemma3FetchHint;
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> file =
        SafetensorsFile::Open("tests/golden/gemma3_270m/logits.safetensors");
    ASSERT_TRUE(file.ok()) << file.status();
    golden_ = *std::move(file);
  }
  OpenedModel Open() {
    absl::StatusOr<OpenedModel> m = OpenModel(CachedModel("gemma3-270m.gguf"), {.compute_dtype = DType::kF32});
    EXPECT_TRUE(m.ok()) << m.status();
    EXPECT_TRUE(m->warnings.empty());
    return *std::move(m);
  }
  Tensor Golden(const std::string& name) const { return *golden_->Read(name); }
  std::vector<int32_t> Ids(const std::string& name) const { return GoldenIds(*golden_, name); }

  std::unique_ptr<SafetensorsFile> golden_;
};

double LargestLogit(const Tensor& top_logits) {
  double largest = 0;
  for (const float x : top_logits.data<float>()) largest = std::max(largest, std::abs(double{x}));
  return largest;
}

// The last prompt is longer than the window.
TEST_F(Gemma3Test, LogitsOfFivePromptsAreTransformers) {
  const OpenedModel m = Open();
  const double allowed = kTolerance * LargestLogit(Golden("top_logits"));
  const double worst = LargestLogitError(*m.lm, *golden_, kPrompts);
  EXPECT_LE(worst, allowed);
  std::printf("worst logit error %.2e, allowed %.2e\n", worst, allowed);
}

TEST_F(Gemma3Test, GreedyTextOf32TokensIsTransformers) {
  const OpenedModel m = Open();
  const std::vector<int32_t> greedy = Ids("greedy");
  for (int64_t p = 0; p < kGreedyPrompts; ++p) {
    const std::vector<int32_t> want(greedy.begin() + kGreedy * p, greedy.begin() + kGreedy * (p + 1));
    EXPECT_EQ(GreedyTokens(*m.lm, *golden_, absl::StrCat("prompt.", p), kGreedy), want) << "prompt " << p;
  }
}

TEST_F(Gemma3Test, TextsOfUsersGiveTransformersIdsAndNoControlToken) {
  const absl::StatusOr<OpenedModel> m = OpenWithoutWeights(CachedModel("gemma3-270m.gguf"));
  ASSERT_TRUE(m.ok()) << m.status();
  int texts = 0;
  for (; golden_->Find(absl::StrCat("text.", texts)) != nullptr; ++texts) {
    const Tensor bytes = Golden(absl::StrCat("text.", texts));
    const std::string text(bytes.data<uint8_t>().begin(), bytes.data<uint8_t>().end());
    const std::vector<int32_t> ids = m->tokenizer->Encode(text);
    EXPECT_EQ(ids, Ids(absl::StrCat("ids.", texts))) << text;
    const bool has_mark = absl::StrContains(text, "\u2581");  // means a space in this vocabulary
    EXPECT_TRUE(has_mark || m->tokenizer->Decode(ids) == text) << text;
    for (const int32_t id : ids) EXPECT_TRUE(id > 4 && id != 105 && id != 106) << id << " in " << text;
  }
  EXPECT_EQ(texts, 15);
}

}  // namespace
}  // namespace lorikeet
