// A real model against transformers and PEFT: SmolLM2-135M-Instruct, its weights dequantized from the GGUF file.
// Goldens: tests/golden/smollm2 (formulas in tests/golden/README.md).
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "apps/model/open_model.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "gtest/gtest.h"
#include "nn/batch.h"
#include "nn/linear_cross_entropy.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "peft/inject.h"
#include "tensor/device.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/elementwise.h"
#include "tensor/tensor.h"
#include "tests/testing/golden_text.h"
#include "tests/testing/model_cache.h"

namespace lorikeet {
namespace {

std::string ModelPath() { return CachedModel("smollm2-135m.gguf"); }

OpenedModel Open(WeightUse use) {
  absl::StatusOr<OpenedModel> m = OpenModel(ModelPath(), {.compute_dtype = DType::kF32, .use = use});
  EXPECT_TRUE(m.ok()) << m.status();
  EXPECT_TRUE(m->warnings.empty());
  return *std::move(m);
}

std::unique_ptr<SafetensorsFile> Golden(const std::string& name) {
  return *SafetensorsFile::Open(absl::StrCat("tests/golden/smollm2/", name, ".safetensors"));
}

TEST(SmolLm2Test, LogitsOfFivePromptsAreTransformers) {
  if (ModelPath().empty()) GTEST_SKIP() << kFetchHint;
  const OpenedModel m = Open(WeightUse::kFrozen);
  const double worst = LargestLogitError(*m.lm, *Golden("logits"), 5);
  EXPECT_LE(worst, 1e-3);
  RecordProperty("worst_error", absl::StrCat(worst));
  std::printf("worst logit error %.2e\n", worst);
}

TEST(SmolLm2Test, GreedyTextOf64TokensIsTransformers) {
  if (ModelPath().empty()) GTEST_SKIP() << kFetchHint;
  const OpenedModel m = Open(WeightUse::kFrozen);
  const auto golden = Golden("logits");
  const std::vector<int32_t> greedy = GoldenIds(*golden, "greedy");
  for (int64_t p = 0; p < 5; ++p) {
    const std::vector<int32_t> want(greedy.begin() + 64 * p, greedy.begin() + 64 * (p + 1));
    EXPECT_EQ(GreedyTokens(*m.lm, *golden, absl::StrCat("prompt.", p), 64), want) << "prompt " << p;
  }
}

uint32_t Mix(uint32_t i) {
  i ^= i >> 16;
  i *= 0x85EBCA6Bu;
  i ^= i >> 13;
  i *= 0xC2B2AE35u;
  return i ^ (i >> 16);
}
double U(uint32_t t, uint32_t e) { return static_cast<double>(Mix((t << 20) + e) >> 8) / 8388608.0 - 1; }

Tensor Formula(uint32_t t, const Shape& shape, double scale) {
  Tensor x = Tensor::Empty(shape, DType::kF32);
  for (size_t e = 0; e < static_cast<size_t>(x.size()); ++e)
    x.data<float>()[e] = static_cast<float>(U(t, static_cast<uint32_t>(e)) * scale);
  return x;
}

// m = ||W|| * (1 + u/8) row by row.
Tensor MagnitudeFormula(uint32_t t, const LinearMap& base) {
  const Tensor w = base.Dense().Cast(DType::kF64);
  const Tensor norm = tensor::Sqrt(tensor::RowDot(w, w));
  Tensor m = Tensor::Empty(norm.shape(), DType::kF32);
  for (size_t e = 0; e < static_cast<size_t>(m.size()); ++e) {
    m.data<float>()[e] = static_cast<float>(norm.data<double>()[e] * (1 + U(t, static_cast<uint32_t>(e)) / 8));
  }
  return m;
}

// Adapters on all 210 projections, their values by the formulas.
void AttachFormulas(CausalLm& lm, bool dora) {
  AdapterConfig config;
  config.r = 4;
  config.lora_alpha = 8;
  config.use_dora = dora;
  absl::StatusOr<std::vector<AdapterSite>> sites = FindSites(lm, config, nullptr);
  ASSERT_TRUE(sites.ok()) << sites.status();
  ASSERT_EQ(sites->size(), 210u);
  Freeze(lm);
  uint32_t t = 0;
  for (const AdapterSite& site : *sites) {
    const LinearMap& base = *site.slot->map;
    const Tensor a = Formula(t, {4, base.in_features()}, 1.0 / 16),
                 b = Formula(t + 1, {base.out_features(), 4}, 1.0 / 32);
    absl::optional<Tensor> magnitude;
    if (dora) magnitude = MagnitudeFormula(t + 2, base);
    t += dora ? 3 : 2;
    Attach(site, config, {.a = a, .b = b}, magnitude, nullptr);
  }
}

// Norm, projection and 32 samples of one gradient against the golden's row t.
void CheckGradient(const SafetensorsFile& golden, uint32_t t, const Parameter& p) {
  ASSERT_TRUE(p.grad.defined()) << p.name;
  const Tensor g = p.grad.Contiguous();
  const Tensor index = *golden.Read("index"), want = *golden.Read("grad");
  const double norm = golden.Read("norm")->data<double>()[t], want_dot = golden.Read("dot")->data<double>()[t];
  double dot = 0, square = 0, error = 0, scale = 0;
  for (size_t e = 0; e < static_cast<size_t>(g.size()); ++e) {
    dot += g.data<float>()[e] * U(t, static_cast<uint32_t>(e) + (1u << 18));
    square += static_cast<double>(g.data<float>()[e]) * g.data<float>()[e];
  }
  EXPECT_TRUE(std::abs(std::sqrt(square) - norm) <= 2e-3 * norm)
      << p.name << ": norm " << std::sqrt(square) << ", expected " << norm;
  EXPECT_TRUE(std::abs(dot - want_dot) <= 2e-3 * norm) << p.name << ": dot " << dot << ", expected " << want_dot;
  for (size_t k = t * 32; k < t * 32 + 32; ++k) {
    const double w = want.data<float>()[k], d = g.data<float>()[static_cast<size_t>(index.data<int32_t>()[k])] - w;
    error += d * d;
    scale += w * w;
  }
  EXPECT_TRUE(std::sqrt(error) <= 2e-3 * std::sqrt(scale)) << p.name << ": sampled error " << std::sqrt(error / scale);
}

struct Case {
  const char* name;
  WeightUse use;
  bool dora;
};
class SmolLm2StepTest : public testing::TestWithParam<Case> {};

TEST_P(SmolLm2StepTest, LossAndAdapterGradientsArePefts) {
  if (ModelPath().empty()) GTEST_SKIP() << kFetchHint;
  const OpenedModel m = Open(GetParam().use);
  AttachFormulas(*m.lm, GetParam().dora);
  const auto golden = Golden(GetParam().name);
  const Tensor tokens = *golden->Read("tokens"), labels = *golden->Read("labels");
  std::vector<int32_t> targets;
  int64_t count = 0;
  for (size_t i = 1; i <= static_cast<size_t>(labels.size()); ++i) {
    targets.push_back(i < static_cast<size_t>(labels.size()) ? std::max(-1, labels.data<int32_t>()[i]) : -1);
    count += targets.back() >= 0;
  }
  Tape tape;
  const Variable loss =
      LinearCrossEntropy(m.lm->Hidden(OneSequence(tokens.data<int32_t>(), 0, kCpu), nullptr), m.lm->head(),
                         Tensor::From<int32_t>(targets, {tokens.size()}), {.scale = 1.0f / static_cast<float>(count)});
  const double want = golden->Read("loss")->item();
  EXPECT_TRUE(std::abs(loss.value().item() - want) <= 2e-3 * want) << loss.value().item() << ", expected " << want;
  tape.Backward(loss, Tensor::Scalar(1, DType::kF32));
  const std::vector<Parameter*> parameters = TrainableParameters(*m.lm);
  ASSERT_EQ(parameters.size(), GetParam().dora ? 630u : 420u);
  for (uint32_t t = 0; t < parameters.size(); ++t) CheckGradient(*golden, t, *parameters[t]);
}

INSTANTIATE_TEST_SUITE_P(Methods, SmolLm2StepTest,
                         testing::Values(Case{"lora", WeightUse::kFrozen, false},
                                         Case{"qlora", WeightUse::kQuantized, false},
                                         Case{"dora", WeightUse::kFrozen, true},
                                         Case{"qdora", WeightUse::kQuantized, true}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lorikeet
