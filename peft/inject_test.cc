#include "peft/inject.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "peft/adapter_map.h"
#include "peft/testing.h"
#include "tensor/ops/testing.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr RngKey kKey{.seed = 42};

AdapterConfig ForList(std::vector<std::string> list) {
  AdapterConfig c;
  c.r = 2;
  c.all_linear = false;
  c.target.list = std::move(list);
  return c;
}

AdapterMap& AdapterOf(LinearMap& map) { return dynamic_cast<AdapterMap&>(map); }

TEST(InjectTest, WrapsWhatIsSelectedAndFreezesTheRest) {
  TinyModel model(/*tied=*/false, DType::kF32, /*trainable=*/true);
  const absl::StatusOr<InjectReport> report = Inject(model, ForList({"q_proj"}), kKey, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->modules, ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"));
  EXPECT_EQ(report->trainable, 2 * (2 * 6 + 6 * 2));
  std::vector<std::string> names;
  for (const Parameter* p : TrainableParameters(model)) names.push_back(p->name);
  EXPECT_THAT(names, ElementsAre("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                                 "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
                                 "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
                                 "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"));
}

TEST(InjectTest, DoraAddsAMagnitudePerOutput) {
  TinyModel model;
  AdapterConfig c = ForList({"v_proj"});
  c.use_dora = true;
  const absl::StatusOr<InjectReport> report = Inject(model, c, kKey, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->trainable, 2 * (2 * 6 + 4 * 2 + 4));
  EXPECT_EQ(TrainableParameters(model)[2]->name,
            "base_model.model.model.layers.0.self_attn.v_proj.lora_magnitude_vector");
}

TEST(InjectTest, AIsUniformWithinTheBoundAndBIsZero) {
  TinyModel model;
  AdapterConfig c = ForList({"up_proj"});
  c.r = 4096;
  ASSERT_TRUE(Inject(model, c, kKey, nullptr).ok());
  const double bound = 1 / std::sqrt(6.0);
  double sum = 0, squares = 0, largest = 0;
  const std::vector<double> a = tensor::Values(AdapterOf(model.linear(2)).a());
  for (const double v : a) sum += v, squares += v * v, largest = std::max(largest, std::abs(v));
  EXPECT_LE(largest, bound);
  EXPECT_GT(largest, 0.999 * bound);
  const double n = static_cast<double>(a.size());
  EXPECT_NEAR(sum / n, 0, 5 * bound / std::sqrt(3 * n));
  EXPECT_NEAR(squares / n, bound * bound / 3, 0.02 * bound * bound);
  for (const double v : tensor::Values(AdapterOf(model.linear(2)).b())) EXPECT_EQ(v, 0);
}

TEST(InjectTest, InitialValuesDependOnKeyAndPathOnly) {
  TinyModel one, both, other_key;
  ASSERT_TRUE(Inject(one, ForList({"1.self_attn.q_proj"}), kKey, nullptr).ok());
  ASSERT_TRUE(Inject(both, ForList({"q_proj"}), kKey, nullptr).ok());
  ASSERT_TRUE(Inject(other_key, ForList({"q_proj"}), kKey.Fold(1), nullptr).ok());
  const Tensor a = AdapterOf(one.linear(3)).a();
  EXPECT_TRUE(SameBytes(a, AdapterOf(both.linear(3)).a()));
  EXPECT_FALSE(SameBytes(a, AdapterOf(both.linear(0)).a()));
  EXPECT_FALSE(SameBytes(a, AdapterOf(other_key.linear(3)).a()));
}

TEST(InjectTest, PatternsSetRankAndScaling) {
  TinyModel model;
  AdapterConfig c = ForList({"q_proj", "v_proj"});
  c.r = 4, c.lora_alpha = 8;
  c.rank_pattern = {{"layers.1.self_attn.q_proj", 2}};
  c.alpha_pattern = {{"v_proj", 3}};
  ASSERT_TRUE(Inject(model, c, kKey, nullptr).ok());
  EXPECT_EQ(AdapterOf(model.linear(0)).scaling(), 2);
  EXPECT_EQ(AdapterOf(model.linear(3)).rank(), 2);
  EXPECT_EQ(AdapterOf(model.linear(3)).scaling(), 4);
  EXPECT_EQ(AdapterOf(model.linear(1)).scaling(), 0.75f);
}

TEST(InjectTest, RankStabilisedScalingDividesByTheRoot) {
  TinyModel model;
  AdapterConfig c = ForList({"q_proj"});
  c.r = 4, c.lora_alpha = 8, c.use_rslora = true;
  ASSERT_TRUE(Inject(model, c, kKey, nullptr).ok());
  EXPECT_EQ(AdapterOf(model.linear(0)).scaling(), 4);
}

TEST(InjectTest, ANameThatMatchesNothingLeavesTheModelAsItWas) {
  TinyModel model(/*tied=*/false, DType::kF32, /*trainable=*/true);
  const size_t trainable = TrainableParameters(model).size();
  const absl::Status s = Inject(model, ForList({"q_proj", "v_prj"}), kKey, nullptr).status();
  EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(s.message()), HasSubstr("did you mean v_proj"));
  EXPECT_EQ(TrainableParameters(model).size(), trainable);
}

TEST(InjectTest, AnAdapterOverAnAdapterIsRefused) {
  TinyModel model;
  ASSERT_TRUE(Inject(model, ForList({"q_proj"}), kKey, nullptr).ok());
  const absl::Status s = Inject(model, ForList({"v_proj"}), kKey, nullptr).status();
  EXPECT_THAT(std::string(s.message()), HasSubstr("already carries an adapter"));
}

TEST(InjectTest, EjectGivesTheBaseModelBack) {
  TinyModel model;
  const LinearMap* base = &model.linear(0);
  ASSERT_TRUE(Inject(model, AdapterConfig(), kKey, nullptr).ok());
  EXPECT_NE(&model.linear(0), base);
  EXPECT_EQ(Eject(model), 6);
  EXPECT_EQ(&model.linear(0), base);
  EXPECT_TRUE(TrainableParameters(model).empty());
}

TEST(InjectTest, AModelInF64GetsFactorsInF64) {
  TinyModel model(/*tied=*/false, DType::kF64);
  ASSERT_TRUE(Inject(model, AdapterConfig(), kKey, nullptr).ok());
  EXPECT_EQ(AdapterOf(model.linear(0)).a().dtype(), DType::kF64);
}

}  // namespace
}  // namespace lorikeet
