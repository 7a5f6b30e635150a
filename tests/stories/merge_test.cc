// Adapters that PEFT wrote, worked into their base and written as a directory: what is opened again computes what base
// and adapter did.
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "apps/model/adapted_model.h"
#include "apps/model/logit_error.h"
#include "apps/model/open_model.h"
#include "apps/model/save_model.h"
#include "gtest/gtest.h"
#include "peft/merge.h"
#include "tensor/dtype.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

const std::vector<std::vector<int32_t>> kPrompts = {{5, 3, 80, 41, 7, 7, 12, 90}, {1, 60, 2}};

struct Case {
  std::string adapter, model;
  WeightUse use = WeightUse::kFrozen;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.adapter; }

class MergeStory : public testing::TestWithParam<Case> {
 protected:
  AdaptedModel Open() {
    absl::StatusOr<AdaptedModel> m =
        OpenAdaptedModel(TinyModel(GetParam().model), absl::StrCat("tests/golden/adapters/", GetParam().adapter),
                         {.use = GetParam().use});
    EXPECT_TRUE(m.ok()) << m.status();
    return *std::move(m);
  }
  OpenedModel Reopened(const AdaptedModel& m, DType dtype) {
    const std::string dir = FreshPath("merged");
    std::filesystem::create_directories(dir);
    const absl::Status s = SaveModel(dir, m.base.files->config(), m.base.files->tokenizer_files(),
                                     MergedSource(*m.base.lm, dtype), {.dtype = dtype});
    EXPECT_TRUE(s.ok()) << s;
    absl::StatusOr<OpenedModel> written = OpenModel(dir, {});
    EXPECT_TRUE(written.ok()) << written.status();
    return *std::move(written);
  }
};

TEST_P(MergeStory, MergedInF32ItComputesTheAdaptersLogitsTo1em4) {
  const AdaptedModel m = Open();
  const std::vector<Tensor> adapted = LastLogits(*m.base.lm, kPrompts, 8);
  const LogitError e = CompareLogits(adapted, LastLogits(*Reopened(m, DType::kF32).lm, kPrompts, 8));
  EXPECT_TRUE(e.max <= 1e-4) << e.max;
  EXPECT_EQ(e.positions, 11);
}

TEST_P(MergeStory, MergedIn16BitsItIsNearTheAdapterAndFarFromTheBase) {
  const AdaptedModel m = Open();
  const std::vector<Tensor> adapted = LastLogits(*m.base.lm, kPrompts, 8);
  const std::vector<Tensor> merged = LastLogits(*Reopened(m, DType::kBF16).lm, kPrompts, 8);
  const absl::StatusOr<OpenedModel> base = OpenModel(TinyModel(GetParam().model), {});
  ASSERT_TRUE(base.ok()) << base.status();
  const double from_base = CompareLogits(adapted, LastLogits(*base->lm, kPrompts, 8)).mean;
  EXPECT_TRUE(CompareLogits(adapted, merged).mean < 0.1 * from_base);
}

INSTANTIATE_TEST_SUITE_P(Adapters, MergeStory,
                         testing::Values(Case{"lora", "llama_untied"}, Case{"rslora", "llama_tied"},
                                         Case{"patterns", "llama_untied"}, Case{"regex", "qwen2"},
                                         Case{"tokens", "llama_untied"}, Case{"tokens_tied", "llama_tied"},
                                         Case{"dora", "qwen2"}, Case{"qlora", "llama_untied", WeightUse::kQuantized},
                                         Case{"qdora", "qwen2", WeightUse::kQuantized}, Case{"gemma3", "gemma3"},
                                         Case{"gpt2", "gpt2"}, Case{"gpt2_dora", "gpt2"},
                                         Case{"gpt2_qlora", "gpt2", WeightUse::kQuantized}, Case{"phi3", "phi3"},
                                         Case{"qwen3", "qwen3"}));

}  // namespace
}  // namespace lorikeet
