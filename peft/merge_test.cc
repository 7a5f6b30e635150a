#include "peft/merge.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "peft/adapter_map.h"
#include "peft/inject.h"
#include "peft/testing.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/testing.h"

namespace lorikeet {
namespace {

using tensor::IsClose;
using tensor::RandomTensor;
using tensor::Values;

// A model whose adapters do something.
void Adapt(TinyModel& model, bool dora) {
  AdapterConfig c;
  c.r = 2, c.use_dora = dora;
  ASSERT_TRUE(Inject(model, c, RngKey{.seed = 1}, nullptr).ok());
  uint32_t seed = 100;
  for (Parameter* p : TrainableParameters(model)) {
    tensor::CopyInto(RandomTensor(p->value.shape(), p->value.dtype(), seed++, 0.2, 1), p->value);
  }
}

TEST(MergeTest, TheMergedModelComputesWhatTheAdaptedOneDid) {
  for (const bool dora : {false, true}) {
    TinyModel model;
    Adapt(model, dora);
    const Tensor x = RandomTensor({5, 6}, DType::kF32, 9);
    const std::vector<double> before = Values(model.linear(2).Apply(x).value());
    EXPECT_EQ(Merge(model), 6);
    EXPECT_EQ(dynamic_cast<AdapterMap*>(&model.linear(2)), nullptr);
    EXPECT_TRUE(IsClose(model.linear(2).Apply(x).value(), before, 1e-5)) << dora;
    EXPECT_EQ(Merge(model), 0);
  }
}

TEST(MergeTest, TheSourceListsTheModelUnderItsCheckpointNames) {
  TinyModel model;
  Adapt(model, /*dora=*/true);
  const MergedSource merged(model, DType::kBF16);
  std::vector<std::string> names;
  for (const TensorInfo& info : merged.tensors()) names.push_back(info.name);
  EXPECT_EQ(names.size(), 9u);
  EXPECT_THAT(names, testing::Contains("model.layers.1.mlp.up_proj.weight"));
  EXPECT_THAT(names, testing::Contains("model.norm.weight"));
  EXPECT_EQ(merged.Find("lm_head.weight")->stored_type, "BF16");
  EXPECT_EQ(merged.Find("lm_head.weight")->bytes, 11 * 6 * 2);
  EXPECT_EQ(merged.Read("model.layers.0.mlp.up_proj.lora_A.weight").status().code(), absl::StatusCode::kNotFound);
}

TEST(MergeTest, TheSourceReadsMergedWeightsRoundedOnce) {
  TinyModel model;
  Adapt(model, /*dora=*/true);
  const Tensor exact = dynamic_cast<AdapterMap&>(model.linear(2)).Merged();
  const MergedSource merged(model, DType::kBF16);
  const absl::StatusOr<Tensor> w = merged.Read("model.layers.0.mlp.up_proj.weight");
  ASSERT_TRUE(w.ok());
  EXPECT_TRUE(SameBytes(*w, exact.Cast(DType::kBF16)));
  EXPECT_TRUE(SameBytes(*merged.Read("lm_head.weight"), model.head().Dense().Cast(DType::kBF16)));
}

TEST(MergeTest, OverTheWholeWeightWhatAStartTookIsTakenAgain) {
  TinyModel model;
  const Tensor whole = model.linear(2).Dense().Clone();
  AdapterConfig config;
  config.r = 2, config.init_lora_weights = "pissa";
  ASSERT_TRUE(Inject(model, config, RngKey{.seed = 1}, nullptr).ok());
  AdapterMap& map = dynamic_cast<AdapterMap&>(model.linear(2));
  ASSERT_TRUE(map.taken_a().defined());
  EXPECT_TRUE(IsClose(map.MergedOver(whole), Values(map.Merged()), 1e-5));
  EXPECT_TRUE(IsClose(map.Merged(), Values(whole), 1e-5)) << "nothing is trained yet";
}

TEST(MergeTest, OverItsOwnBaseAnotherBaseIsTheSame) {
  for (const bool dora : {false, true}) {
    TinyModel model;
    Adapt(model, dora);
    AdapterMap& map = dynamic_cast<AdapterMap&>(model.linear(2));
    EXPECT_TRUE(IsClose(map.MergedOver(map.base().Dense()), Values(map.Merged()), 1e-6)) << dora;
    const Tensor other = RandomTensor(map.base().Dense().shape(), DType::kF32, 77), before = other.Clone();
    EXPECT_FALSE(IsClose(map.MergedOver(other), Values(map.Merged()), 1e-2)) << dora;
    EXPECT_TRUE(SameBytes(other, before));
  }
}

}  // namespace
}  // namespace lorikeet
