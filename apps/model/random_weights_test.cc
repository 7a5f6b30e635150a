#include "apps/model/random_weights.h"

#include <cmath>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "nn/causal_lm.h"
#include "nn/load.h"
#include "nn/model_config.h"
#include "tensor/dtype.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

ModelConfig Config() {
  ModelConfig c;
  c.vocab_size = 64;
  c.hidden_size = 64;
  c.intermediate_size = 128;
  c.num_layers = 2;
  c.num_heads = 2;
  c.num_kv_heads = 1;
  c.head_dim = 32;
  c.tie_word_embeddings = true;
  return c;
}

double StandardDeviation(const Tensor& t) {
  double sum = 0;
  for (const float x : t.data<float>()) sum += double{x} * x;
  return std::sqrt(sum / static_cast<double>(t.size()));
}

TEST(RandomWeightsTest, FillAModelThatWasEmpty) {
  std::unique_ptr<CausalLm> lm = BuildModel(Config(), DType::kF32);
  const RandomWeights start(*lm, RngKey{.seed = 3});
  LoadReport report;
  ASSERT_TRUE(LoadWeights(*lm, start, DenseFactory(DType::kF32, true), true, &report).ok());
  EXPECT_TRUE(report.unexpected.empty());
  EXPECT_EQ(lm->head().Dense().size(), 64 * 64);
}

TEST(RandomWeightsTest, HaveTheSpreadThatTheirPlaceAsksFor) {
  std::unique_ptr<CausalLm> lm = BuildModel(Config(), DType::kF32);
  const RandomWeights start(*lm, RngKey{.seed = 3});
  const absl::StatusOr<Tensor> up = start.Read("model.layers.1.mlp.up_proj.weight");
  const absl::StatusOr<Tensor> down = start.Read("model.layers.1.mlp.down_proj.weight");
  const absl::StatusOr<Tensor> norm = start.Read("model.norm.weight");
  ASSERT_TRUE(up.ok() && down.ok() && norm.ok());
  EXPECT_NEAR(StandardDeviation(*up), 0.02, 0.001);
  EXPECT_NEAR(StandardDeviation(*down), 0.01, 0.0005);
  for (const float x : norm->data<float>()) EXPECT_EQ(x, 1.0f);
}

TEST(RandomWeightsTest, DependOnTheKeyAlone) {
  std::unique_ptr<CausalLm> lm = BuildModel(Config(), DType::kF32);
  const char* name = "model.layers.0.self_attn.q_proj.weight";
  const Tensor a = *RandomWeights(*lm, RngKey{.seed = 3}).Read(name);
  const Tensor b = *RandomWeights(*lm, RngKey{.seed = 3}).Read(name);
  const Tensor c = *RandomWeights(*lm, RngKey{.seed = 4}).Read(name);
  EXPECT_EQ(a.data<float>(), b.data<float>());
  EXPECT_NE(a.data<float>(), c.data<float>());
}

TEST(RandomWeightsTest, AnUnknownNameIsNotFound) {
  std::unique_ptr<CausalLm> lm = BuildModel(Config(), DType::kF32);
  EXPECT_TRUE(absl::IsNotFound(RandomWeights(*lm, RngKey{}).Read("lm_head.weight").status()));
}

}  // namespace
}  // namespace lorikeet
