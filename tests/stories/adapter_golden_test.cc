// Adapters that PEFT wrote, on tiny models that transformers wrote: logits, loss and every gradient of an adapter agree
// with PEFT's own f64 run, over dense and over 4-bit bases; so do its weights after three steps of LoRA+.
#include <algorithm>
#include <cmath>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/model/nf4_factory.h"
#include "autograd/tape.h"
#include "gtest/gtest.h"
#include "nn/causal_lm.h"
#include "nn/linear_cross_entropy.h"
#include "nn/load.h"
#include "nn/model_config.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "peft/adapter_file.h"
#include "peft/inject.h"
#include "peft/lora_plus.h"
#include "peft/merge.h"
#include "tensor/check.h"
#include "tensor/io/file.h"
#include "tensor/io/safetensors.h"
#include "tensor/tensor.h"
#include "tests/testing/sequences.h"

namespace lorikeet {
namespace {

constexpr char kGolden[] = "tests/golden/";

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  LORIKEET_CHECK(value.ok()) << value.status();
  return *std::move(value);
}

std::unique_ptr<CausalLm> Load(const std::string& name, bool four_bit) {
  const std::string directory = absl::StrCat(kGolden, "models/", name);
  const std::string config = directory + "/config.json";
  std::unique_ptr<CausalLm> model =
      BuildModel(OrDie(ParseModelConfig(OrDie(ReadFileToString(config, 1 << 20)), config)), DType::kF32);
  const auto weights = OrDie(SafetensorsFile::Open(directory + "/model.safetensors"));
  const MapFactory factory = four_bit ? Nf4Factory(DType::kF32) : DenseFactory(DType::kF32, false);
  const absl::Status s = LoadWeights(*model, *weights, factory, false, nullptr);
  LORIKEET_CHECK(s.ok()) << s;
  return model;
}

// Largest difference, and the largest element of `want`; NaN if there is one.
std::pair<double, double> Difference(const Tensor& got, const Tensor& want) {
  const Tensor a = got.Cast(DType::kF64).Contiguous(), b = want.Cast(DType::kF64).Contiguous();
  double worst = a.size() == b.size() ? 0 : NAN, largest = 0;
  for (size_t i = 0; i < static_cast<size_t>(b.size()) && worst == worst; ++i) {
    const double d = std::abs(a.data<double>()[i] - b.data<double>()[i]);
    if (!(d <= worst)) worst = d;
    largest = std::max(largest, std::abs(b.data<double>()[i]));
  }
  return {worst, largest};
}

struct GoldenCase {
  const char* name;
  const char* base;
  bool four_bit = false;
};
void PrintTo(const GoldenCase& c, std::ostream* os) { *os << c.name; }

class AdapterGoldenTest : public testing::TestWithParam<GoldenCase> {
 protected:
  AdapterGoldenTest()
      : directory(absl::StrCat(kGolden, "adapters/", GetParam().name)),
        golden(OrDie(SafetensorsFile::Open(directory + "/golden.safetensors"))),
        rows(SequencesOf(OrDie(golden->Read("tokens")), OrDie(golden->Read("labels")))),
        model(Load(GetParam().base, GetParam().four_bit)),
        loaded(OrDie(LoadAdapter(directory, *model, nullptr))) {}

  void ExpectLogits(const Tensor& h) {
    const Tensor logits = OrDie(golden->Read("logits"));
    const double error = Difference(model->Logits(h).Reshape(logits.shape()), logits).first;
    EXPECT_FALSE(!(error <= 1e-4)) << error;
  }

  std::string directory;
  std::unique_ptr<SafetensorsFile> golden;
  LabelledSequences rows;
  std::unique_ptr<CausalLm> model;
  LoadedAdapter loaded;
};

TEST_P(AdapterGoldenTest, LogitsLossAndGradientsArePefts) {
  EXPECT_TRUE(loaded.warnings.empty()) << loaded.warnings[0];
  Tape tape;
  const Variable h = model->Hidden(rows.batch, nullptr);
  ExpectLogits(h.value());
  const Variable loss = LinearCrossEntropy(h, model->head(), rows.targets,
                                           {.scale = 1.0f / rows.answers, .softcap = model->config().final_softcap});
  EXPECT_NEAR(loss.value().item(), OrDie(golden->Read("loss")).item(), 1e-5);
  tape.Backward(loss, Tensor::Scalar(1, DType::kF32));
  const std::vector<Parameter*> parameters = TrainableParameters(*model);
  for (const Parameter* p : parameters) {
    // PEFT holds an embedding's factors transposed.
    const bool transposed = absl::StrContains(p->name, "lora_embedding");
    const Tensor grad = transposed ? p->grad.Transpose(0, 1) : p->grad;
    const auto [worst, largest] = Difference(grad, OrDie(golden->Read("grad." + p->name)));
    EXPECT_FALSE(!(worst <= 2e-3 * largest)) << p->name << ": " << worst << " of " << largest;
  }
  size_t gradients = 0;
  for (const TensorInfo& info : golden->tensors()) gradients += absl::StartsWith(info.name, "grad.");
  EXPECT_EQ(parameters.size(), gradients);
}

TEST_P(AdapterGoldenTest, TheMergedModelHasTheSameLogits) {
  EXPECT_EQ(static_cast<size_t>(Merge(*model)), loaded.modules.size());
  ExpectLogits(model->Hidden(rows.batch, nullptr).value());
}

// Adapters that a file holds as they are.
class OrdinaryAdapterTest : public AdapterGoldenTest {};

TEST_P(OrdinaryAdapterTest, SavedAgainTheFilesArePeftsToTheByte) {
  const std::string again = absl::StrCat(testing::TempDir(), "/", GetParam().name);
  ASSERT_TRUE(SaveAdapter(again, *model, loaded.config).ok());
  for (const char* name : {"/adapter_config.json", "/adapter_model.safetensors"}) {
    EXPECT_EQ(OrDie(ReadFileToString(again + name, 1 << 20)), OrDie(ReadFileToString(directory + name, 1 << 20)))
        << name;
  }
}

// Adapters that took a part of their base; ours are saved as ordinary ones of twice the rank.
class TakingAdapterTest : public AdapterGoldenTest {};

// Over the base as it was: PEFT's conversion of the same adapter, and ours, which is then stable.
TEST_P(TakingAdapterTest, ConvertedItIsTheSameOverAnUnchangedBase) {
  const std::string ours = absl::StrCat(testing::TempDir(), "/", GetParam().name, "_ours");
  ASSERT_TRUE(SaveAdapter(ours, *model, loaded.config).ok());
  for (const std::string& converted : {directory + "_converted", ours}) {
    model = Load(GetParam().base, GetParam().four_bit);
    const LoadedAdapter ordinary = OrDie(LoadAdapter(converted, *model, nullptr));
    EXPECT_EQ(ordinary.config.init_lora_weights, "true");
    EXPECT_EQ(ordinary.config.r, 2 * loaded.config.r);
    ExpectLogits(model->Hidden(rows.batch, nullptr).value());
  }
  ASSERT_TRUE(SaveAdapter(ours + "_again", *model, OrDie(ReadAdapterConfig(ours, nullptr))).ok());
  for (const char* name : {"/adapter_config.json", "/adapter_model.safetensors"}) {
    EXPECT_EQ(OrDie(ReadFileToString(absl::StrCat(ours, "_again", name), 1 << 20)),
              OrDie(ReadFileToString(ours + name, 1 << 20)));
  }
}

// tests/golden/make_lora_plus.py: AdamW with a rate of 1e-3, decay 0.1, ratio 16.
class LoraPlusGoldenTest : public AdapterGoldenTest {};

TEST_P(LoraPlusGoldenTest, ThreeStepsArePefts) {
  const auto trained = OrDie(SafetensorsFile::Open(directory + "/lora_plus.safetensors"));
  const std::vector<Parameter*> parameters = TrainableParameters(*model);
  const auto group = [](const Parameter& p) {
    return AdamWGroup{.lr_scale = LoraPlusScale(p, 16), .weight_decay = 0.1};
  };
  AdamW adamw(parameters, {.group = group}, std::make_unique<ResidentStore>(StateElements(parameters)));
  for (int step = 0; step < 3; ++step) {
    Tape tape;
    const Variable h = model->Hidden(rows.batch, nullptr);
    const Variable loss = LinearCrossEntropy(h, model->head(), rows.targets, {.scale = 1.0f / rows.answers});
    tape.Backward(loss, Tensor::Scalar(1, DType::kF32));
    ASSERT_TRUE(adamw.Step(1e-3).ok());
    for (Parameter* p : parameters) p->ZeroGrad();
  }
  EXPECT_EQ(parameters.size(), trained->tensors().size());
  for (const Parameter* p : parameters) {
    const double error = Difference(p->value, OrDie(trained->Read(p->name))).first;
    EXPECT_FALSE(!(error <= 1e-3 * 1e-3 * LoraPlusScale(*p, 16))) << p->name << ": " << error;  // of one step
  }
}

std::string NameOf(const testing::TestParamInfo<GoldenCase>& info) { return info.param.name; }

const auto kOrdinary = testing::Values(
    GoldenCase{"lora", "llama_untied"}, GoldenCase{"rslora", "llama_tied"}, GoldenCase{"patterns", "llama_untied"},
    GoldenCase{"regex", "qwen2"}, GoldenCase{"dora", "qwen2"}, GoldenCase{"qlora", "llama_untied", true},
    GoldenCase{"qdora", "qwen2", true}, GoldenCase{"layers", "llama_tied"}, GoldenCase{"bias_all", "qwen2"},
    GoldenCase{"bias_lora_only", "qwen2"}, GoldenCase{"whole", "llama_untied"}, GoldenCase{"whole_tied", "llama_tied"},
    GoldenCase{"embedding", "llama_untied"}, GoldenCase{"gaussian", "llama_tied"}, GoldenCase{"gemma3", "gemma3"},
    GoldenCase{"gpt2", "gpt2"}, GoldenCase{"gpt2_dora", "gpt2"}, GoldenCase{"gpt2_qlora", "gpt2", true},
    GoldenCase{"phi3", "phi3"}, GoldenCase{"qwen3", "qwen3"}, GoldenCase{"tokens", "llama_untied"},
    GoldenCase{"tokens_tied", "llama_tied"});
const auto kTaking = testing::Values(GoldenCase{"pissa", "llama_untied"}, GoldenCase{"olora", "llama_untied"});

INSTANTIATE_TEST_SUITE_P(Ordinary, AdapterGoldenTest, kOrdinary, NameOf);
INSTANTIATE_TEST_SUITE_P(Taking, AdapterGoldenTest, kTaking, NameOf);
INSTANTIATE_TEST_SUITE_P(Peft, OrdinaryAdapterTest, kOrdinary, NameOf);
INSTANTIATE_TEST_SUITE_P(Peft, TakingAdapterTest, kTaking, NameOf);
INSTANTIATE_TEST_SUITE_P(Peft, LoraPlusGoldenTest,
                         testing::Values(GoldenCase{"lora", "llama_untied"}, GoldenCase{"dora", "qwen2"}), NameOf);

}  // namespace
}  // namespace lorikeet
