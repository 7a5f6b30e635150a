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
#include "nn/batch.h"
#include "nn/causal_lm.h"
#include "nn/kv_cache.h"
#include "nn/model_config.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/reduce.h"
#include "tensor/tensor.h"
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
  std::vector<int32_t> Ids(const std::string& name) const {
    const Tensor t = Golden(name);
    return {t.data<int32_t>().begin(), t.data<int32_t>().end()};
  }

  std::unique_ptr<SafetensorsFile> golden_;
};

Batch OneSequence(const Tensor& tokens, int64_t first_position) {
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < tokens.size(); ++i) positions.push_back(static_cast<int32_t>(first_position + i));
  return {tokens, Tensor::From<int32_t>(positions, {tokens.size()}),
          Tensor::From<int32_t>({0, static_cast<int32_t>(tokens.size())}, {2})};
}

// f32 logits of the last row.
Tensor LastLogits(CausalLm& lm, const Batch& batch, KvCache* cache) {
  const Tensor h = lm.Hidden(batch, cache).value();
  return lm.Logits(h.Slice(0, h.dim(0) - 1, h.dim(0)));
}

double LargestLogit(const Tensor& top_logits) {
  double largest = 0;
  for (const float x : top_logits.data<float>()) largest = std::max(largest, std::abs(double{x}));
  return largest;
}

// The last prompt is longer than the window.
TEST_F(Gemma3Test, LogitsOfFivePromptsAreTransformers) {
  const OpenedModel m = Open();
  const Tensor columns = Golden("columns"), want = Golden("logits");
  const double allowed = kTolerance * LargestLogit(Golden("top_logits"));
  double worst = 0;
  for (int64_t p = 0; p < kPrompts; ++p) {
    const Tensor logits = LastLogits(*m.lm, OneSequence(Golden(absl::StrCat("prompt.", p)), 0), nullptr);
    for (int64_t j = 0; j < columns.size(); ++j) {
      const float got = logits.data<float>()[static_cast<size_t>(columns.data<int32_t>()[static_cast<size_t>(j)])];
      const double error = std::abs(got - want.data<float>()[static_cast<size_t>(p * columns.size() + j)]);
      ASSERT_TRUE(error <= allowed) << "prompt " << p << " column " << j;
      worst = std::max(worst, error);
    }
  }
  std::printf("worst logit error %.2e, allowed %.2e\n", worst, allowed);
}

TEST_F(Gemma3Test, GreedyTextOf32TokensIsTransformers) {
  const OpenedModel m = Open();
  const ModelConfig& c = m.lm->config();
  const std::vector<int32_t> greedy = Ids("greedy");
  for (int64_t p = 0; p < kGreedyPrompts; ++p) {
    Tensor input = Golden(absl::StrCat("prompt.", p));
    KvCache cache(c.num_layers, input.size() + kGreedy, c.num_kv_heads, c.head_dim, DType::kF32);
    for (int64_t i = 0; i < kGreedy; ++i) {
      const Tensor logits = LastLogits(*m.lm, OneSequence(input, cache.length()), &cache);
      const int32_t next = tensor::ArgMax(logits).data<int32_t>()[0];
      ASSERT_EQ(next, greedy[static_cast<size_t>(p * kGreedy + i)]) << "prompt " << p << " token " << i;
      input = Tensor::From<int32_t>({next}, {1});
    }
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
