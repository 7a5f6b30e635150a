#include "nn/rope_factors.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "gtest/gtest.h"
#include "nn/model_config.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

ModelConfig Llama(double theta, int64_t head_dim, double factor, int64_t original = 8192) {
  ModelConfig c;
  c.rope_theta = theta;
  c.head_dim = head_dim;
  c.rope_scaling = {.kind = RopeScaling::Kind::kLlama3, .factor = factor, .original_max_position = original};
  return c;
}

// make_gguf.py: the frequencies that transformers computes for tests/golden/models/llama3_rope.
Tensor Golden() {
  const auto file = SafetensorsFile::Open("tests/golden/gguf/rope_factors.safetensors");
  EXPECT_TRUE(file.ok()) << file.status();
  return *(*file)->Read("llama3_rope");
}

Tensor FactorsOf(const ModelConfig& c) {
  const std::vector<RopeTensor> tensors = RopeTensors(c);
  EXPECT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].name, std::string("rope_freqs.weight"));
  return tensors[0].factors;
}

TEST(RopeFactorsTest, TheyAreTransformersFrequenciesApart) {
  const Tensor want = Golden();
  const Tensor got = FactorsOf(Llama(500000, 12, 8, 64));
  ASSERT_EQ(got.shape(), want.shape());
  for (int64_t i = 0; i < want.size(); ++i) {
    const float w = want.data<float>()[i], g = got.data<float>()[i];
    EXPECT_TRUE(std::abs(g - w) <= 1e-6f * w) << i << ": " << g << " " << w;
  }
}

TEST(RopeFactorsTest, OtherScalingsHaveNone) {
  ModelConfig c = Llama(10000, 64, 4);
  for (const RopeScaling::Kind kind :
       {RopeScaling::Kind::kNone, RopeScaling::Kind::kLinear, RopeScaling::Kind::kYarn}) {
    c.rope_scaling.kind = kind;
    EXPECT_TRUE(RopeTensors(c).empty());
  }
}

TEST(RopeFactorsTest, TransformersFactorsLeadBackToItsConfiguration) {
  const absl::optional<RopeScaling> scaling = ScalingOfFactors(Golden(), Llama(500000, 12, 1));
  ASSERT_TRUE(scaling.has_value());
  EXPECT_EQ(scaling->kind, RopeScaling::Kind::kLlama3);
  EXPECT_EQ(scaling->factor, 8);
  EXPECT_EQ(scaling->low_freq_factor, 1);
  EXPECT_EQ(scaling->high_freq_factor, 4);
  EXPECT_EQ(scaling->original_max_position, 64);
}

TEST(RopeFactorsTest, PublishedModelsAreRecognised) {
  struct Published {
    int64_t head_dim;
    double factor;
  };
  for (const auto [head_dim, factor] : {Published{128, 8}, {64, 32}, {128, 32}}) {  // Llama 3.1 and 3.3, 3.2 1B and 3B
    const ModelConfig c = Llama(500000, head_dim, factor);
    const absl::optional<RopeScaling> scaling = ScalingOfFactors(FactorsOf(c), c);
    ASSERT_TRUE(scaling.has_value()) << head_dim;
    EXPECT_EQ(scaling->factor, factor);
    EXPECT_EQ(scaling->original_max_position, 8192);
  }
}

TEST(RopeFactorsTest, FactorsOfAnythingElseAreNothing) {
  const ModelConfig c = Llama(500000, 12, 8, 64);
  const Tensor good = FactorsOf(c);
  const std::vector<float> values(good.data<float>().begin(), good.data<float>().end());
  for (const float x : {0.0f, -1.0f, 1.01f * values[1], std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {size_t{1}, values.size() - 1}) {
      std::vector<float> changed = values;
      changed[at] = x;
      EXPECT_FALSE(ScalingOfFactors(Tensor::From<float>(changed, {6}), c).has_value()) << x << " at " << at;
    }
  }
  EXPECT_FALSE(ScalingOfFactors(Tensor::From<float>({1, 8}, {2}), c).has_value());
  EXPECT_FALSE(ScalingOfFactors(good.Cast(DType::kF64), c).has_value());
  ModelConfig otherwise = c;
  otherwise.rope_scaling.high_freq_factor = 6;
  EXPECT_FALSE(ScalingOfFactors(FactorsOf(otherwise), c).has_value());
}

}  // namespace
}  // namespace lorikeet
