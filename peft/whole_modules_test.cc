#include "peft/whole_modules.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "autograd/parameter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nn/module.h"
#include "peft/adapter_config.h"
#include "peft/inject.h"
#include "peft/testing.h"
#include "tensor/dtype.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Found(Module& model, const AdapterConfig& config) {
  const absl::StatusOr<std::vector<WholeModule>> whole = FindWholeModules(model, config, {});
  if (!whole.ok()) return {std::string(whole.status().message())};
  std::vector<std::string> names;
  for (const WholeModule& m : *whole) {
    for (const std::string& name : DiskNames(m)) names.push_back(name);
  }
  return names;
}

AdapterConfig Saving(std::vector<std::string> modules) {
  AdapterConfig c;
  c.modules_to_save = std::move(modules);
  return c;
}

TEST(WholeModulesTest, NamesAreEndsOfPathsAndMeanEverythingBelow) {
  TinyModel model;
  EXPECT_THAT(Found(model, Saving({"lm_head"})), ElementsAre("base_model.model.lm_head.weight"));
  EXPECT_THAT(Found(model, Saving({"norm"})), ElementsAre("base_model.model.model.norm.weight"));
  EXPECT_THAT(Found(model, Saving({"1.self_attn"})),
              ElementsAre("base_model.model.model.layers.1.self_attn.q_proj.weight",
                          "base_model.model.model.layers.1.self_attn.v_proj.weight"));
  EXPECT_THAT(
      Found(model, Saving({"0.mlp.up_proj", "embed_tokens"})),
      ElementsAre("base_model.model.model.embed_tokens.weight", "base_model.model.model.layers.0.mlp.up_proj.weight"));
}

TEST(WholeModulesTest, AnUnknownNameIsAnErrorWithTheNearestOne) {
  TinyModel model;
  EXPECT_THAT(Found(model, Saving({"lm_haed"})), ElementsAre(HasSubstr("did you mean lm_head")));
}

TEST(WholeModulesTest, ATiedEmbeddingNeedsToBeMeantAsBoth) {
  TinyModel model(/*tied=*/true);
  AdapterConfig c = Saving({"embed_tokens"});
  EXPECT_THAT(Found(model, c), ElementsAre(HasSubstr("ensure_weight_tying")));
  EXPECT_THAT(Found(model, Saving({"lm_head"})), ElementsAre(HasSubstr("ensure_weight_tying")));
  c.ensure_weight_tying = true;
  EXPECT_THAT(Found(model, c),
              ElementsAre("base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight"));
}

AdapterConfig Training(const std::string& table, std::vector<int64_t> tokens) {
  AdapterConfig c;
  c.trainable_token_indices = {{table, std::move(tokens)}};
  return c;
}

TEST(WholeModulesTest, TokensAreRowsOfAnEmbeddingOrAHead) {
  TinyModel model;
  EXPECT_THAT(Found(model, Training("", {3, 1})),
              ElementsAre("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"));
  EXPECT_THAT(Found(model, Training("lm_head", {0})),
              ElementsAre("base_model.model.lm_head.token_adapter.trainable_tokens_delta"));
  EXPECT_THAT(Found(model, Training("q_proj", {0})), ElementsAre(HasSubstr("neither an embedding nor a head")));
  EXPECT_THAT(Found(model, Training("embed_tokens", {1, 999})), ElementsAre(HasSubstr("token 999 is outside")));
  AdapterConfig twice = Training("embed_tokens", {1});
  twice.trainable_token_indices.push_back({"", {2}});
  EXPECT_THAT(Found(model, twice), ElementsAre(HasSubstr("names model.embed_tokens twice")));
  AdapterConfig whole = Training("", {1});
  whole.modules_to_save = {"embed_tokens"};
  EXPECT_THAT(Found(model, whole), ElementsAre(HasSubstr("trains whole by modules_to_save")));
  TinyModel tied(/*tied=*/true);
  EXPECT_THAT(Found(tied, Training("lm_head", {0})),
              ElementsAre(HasSubstr("name that, with the same tokens or alone")));
  AdapterConfig both = Training("embed_tokens", {3, 1});
  both.trainable_token_indices.push_back({"lm_head", {3, 1}});
  EXPECT_THAT(Found(tied, both),
              ElementsAre("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"));
  both.trainable_token_indices[1].second = {3, 2};
  EXPECT_THAT(Found(tied, both), ElementsAre(HasSubstr("neither an embedding nor a head")));
}

TEST(WholeModulesTest, AWholeModuleTrainsInF32OnACopyOfItsOwn) {
  TinyModel model(/*tied=*/false, DType::kBF16);
  const Tensor before = model.head().Dense();
  ASSERT_TRUE(Inject(model, Saving({"lm_head"}), RngKey{.seed = 1}, nullptr).ok());
  EXPECT_FALSE(model.head().frozen());
  EXPECT_EQ(model.head().dtype(), DType::kF32);
  EXPECT_TRUE(SameBytes(model.head().Dense().Cast(DType::kBF16), before));
  EXPECT_FALSE(model.head().Dense().shares_memory_with(before));
  std::vector<std::string> names;
  for (const Parameter* p : TrainableParameters(model)) names.push_back(p->name);
  EXPECT_THAT(names, testing::Contains("base_model.model.lm_head.weight"));
  EXPECT_THAT(names, testing::Not(testing::Contains(HasSubstr("norm"))));
}

}  // namespace
}  // namespace lorikeet
