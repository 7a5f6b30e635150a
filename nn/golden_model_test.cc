// Whole models against transformers: logits, loss and every gradient of tiny checkpoints in tests/golden/models.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "gtest/gtest.h"
#include "nn/batch.h"
#include "nn/causal_lm.h"
#include "nn/gguf_model.h"
#include "nn/kv_cache.h"
#include "nn/layer_runner.h"
#include "nn/linear_cross_entropy.h"
#include "nn/linear_map.h"
#include "nn/load.h"
#include "nn/model_config.h"
#include "nn/module.h"
#include "tensor/io/file.h"
#include "tensor/io/gguf.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/sharded_safetensors.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

const char* const kModels = "tests/golden/models/";

// A copy without symbolic links, which runfiles consist of and a directory of shards may not contain.
std::string RealCopy(const std::string& name) {
  const std::string copy = testing::TempDir() + "/" + name;
  std::filesystem::create_directories(copy);
  for (const auto& entry : std::filesystem::directory_iterator(kModels + name)) {
    std::filesystem::copy_file(entry.path(), copy + "/" + entry.path().filename().string(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  return copy;
}

std::unique_ptr<CausalLm> Load(const std::string& name, bool trainable) {
  const std::string dir = RealCopy(name);
  absl::StatusOr<std::string> json = ReadFileToString(dir + "/config.json", 1 << 20);
  EXPECT_TRUE(json.ok()) << json.status();
  absl::StatusOr<ModelConfig> config = ParseModelConfig(*json, dir + "/config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  absl::StatusOr<std::unique_ptr<TensorSource>> source = OpenSafetensorsDirectory(dir);
  EXPECT_TRUE(source.ok()) << source.status();
  std::unique_ptr<CausalLm> model = BuildModel(*config, DType::kF32);
  LoadReport report;
  const absl::Status status = LoadWeights(*model, **source, DenseFactory(DType::kF32, trainable), trainable, &report);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(report.unexpected.empty());
  return model;
}

struct Golden {
  std::unique_ptr<SafetensorsFile> file;
  Tensor operator[](const std::string& name) const { return *file->Read(name); }
};
Golden OpenGolden(const std::string& name) {
  return {*SafetensorsFile::Open(absl::StrCat(kModels, name, "/golden.safetensors"))};
}

// The fixture's two sequences of 11 tokens as a flat batch; labels shifted by one.
struct Input {
  Batch batch;
  Tensor targets;
  int64_t count = 0;
};
Input MakeInput(const Golden& golden) {
  const Tensor tokens = golden["tokens"], labels = golden["labels"];
  const int64_t rows = tokens.dim(0), length = tokens.dim(1);
  std::vector<int32_t> positions, cu = {0}, targets;
  Input in;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < length; ++i) {
      positions.push_back(static_cast<int32_t>(i));
      const int32_t next = i + 1 < length ? labels.data<int32_t>()[static_cast<size_t>(r * length + i + 1)] : -1;
      targets.push_back(next < 0 ? -1 : next);
      in.count += next >= 0;
    }
    cu.push_back(static_cast<int32_t>((r + 1) * length));
  }
  in.batch = {tokens.Reshape({rows * length}), Tensor::From<int32_t>(positions, {rows * length}),
              Tensor::From<int32_t>(cu, {rows + 1})};
  in.targets = Tensor::From<int32_t>(targets, {rows * length});
  return in;
}

void ExpectClose(const Tensor& got, const Tensor& want, double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  const Tensor a = got.Cast(DType::kF64).Contiguous(), b = want.Cast(DType::kF64).Contiguous();
  for (size_t i = 0; i < static_cast<size_t>(a.size()); ++i) {
    ASSERT_TRUE(std::abs(a.data<double>()[i] - b.data<double>()[i]) <= tolerance)
        << what << "[" << i << "]: " << a.data<double>()[i] << " vs " << b.data<double>()[i];
  }
}

double MaxAbs(const Tensor& t) {
  double max = 0;
  const Tensor wide = t.Cast(DType::kF64);
  for (double v : wide.data<double>()) max = std::max(max, std::abs(v));
  return max;
}

class Gradients : public Visitor {
 public:
  std::map<std::string, Tensor> by_name;

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override { by_name[std::string(name)] = p.grad; }
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    Visitor::VisitSlot(name, slot);
    Tensor& weight = by_name[absl::StrCat(name, ".weight")];
    if (weight.defined()) weight = slot.Turned(weight);
  }
};

class GoldenModelTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModelTest, LogitsAreTransformers) {
  const std::unique_ptr<CausalLm> model = Load(GetParam(), false);
  const Golden golden = OpenGolden(GetParam() == "llama_sharded" ? "llama_tied" : GetParam());
  const Input in = MakeInput(golden);
  ExpectClose(model->Logits(model->Hidden(in.batch, nullptr).value()), golden["logits"], 1e-4, "logits");
}

TEST_P(GoldenModelTest, LossAndEveryGradientAreTransformers) {
  for (const auto& [checkpointing, layers] : {std::pair(Checkpointing::kOff, 0),
                                              {Checkpointing::kOn, 1},
                                              {Checkpointing::kOn, 1000},
                                              {Checkpointing::kSelective, 1000}}) {
    const std::unique_ptr<CausalLm> model = Load(GetParam(), true);
    model->set_gradient_checkpointing(checkpointing, layers);
    const Golden golden = OpenGolden(GetParam() == "llama_sharded" ? "llama_tied" : GetParam());
    const Input in = MakeInput(golden);
    Tape tape;
    const Variable loss = LinearCrossEntropy(
        model->Hidden(in.batch, nullptr), model->head(), in.targets,
        {.scale = 1.0f / static_cast<float>(in.count), .softcap = model->config().final_softcap, .chunk = 5});
    EXPECT_NEAR(loss.value().item(), golden["loss"].item(), 1e-5);
    tape.Backward(loss, Tensor::Scalar(1, DType::kF32));
    Gradients gradients;
    model->Visit(gradients);
    ASSERT_FALSE(gradients.by_name.empty());
    for (const auto& [name, grad] : gradients.by_name) {
      ASSERT_TRUE(grad.defined()) << name;
      const Tensor want = golden["grad." + name];
      ExpectClose(grad, want, 1e-3 * MaxAbs(want) + 1e-7, name);
    }
  }
}

TEST_P(GoldenModelTest, CachedDecodingTokenByTokenGivesTheSameLogits) {
  const std::unique_ptr<CausalLm> model = Load(GetParam(), false);
  const Golden golden = OpenGolden(GetParam() == "llama_sharded" ? "llama_tied" : GetParam());
  const ModelConfig& c = model->config();
  KvCache cache(c.num_layers, 11, c.num_kv_heads, c.head_dim, DType::kF32);
  const Tensor tokens = golden["tokens"], logits = golden["logits"];
  for (int64_t begin : {0, 4, 5, 6, 7, 8, 9, 10}) {  // a prompt of four, then one at a time
    const int64_t n = begin == 0 ? 4 : 1;
    std::vector<int32_t> positions;
    for (int64_t i = 0; i < n; ++i) positions.push_back(static_cast<int32_t>(begin + i));
    const Batch batch = {tokens.Slice(0, 0, 1).Reshape({11}).Slice(0, begin, begin + n),
                         Tensor::From<int32_t>(positions, {n}),
                         Tensor::From<int32_t>({0, static_cast<int32_t>(n)}, {2})};
    const Tensor got = model->Logits(model->Hidden(batch, &cache).value());
    ExpectClose(got, logits.Slice(0, 0, 1).Slice(1, begin, begin + n).Reshape({n, c.vocab_size}), 1e-4, "logits");
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenModelTest,
                         testing::Values("gemma2", "gemma3", "gpt2", "llama_tied", "llama_untied", "llama3_rope",
                                         "llama_sharded", "mistral", "phi3", "phi3_long", "phi3_short", "qwen2",
                                         "qwen3", "qwen3_yarn"),
                         [](const auto& info) { return info.param; });

std::unique_ptr<CausalLm> LoadGguf(const std::string& name) {
  absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open("tests/golden/gguf/" + name + ".gguf");
  EXPECT_TRUE(file.ok()) << file.status();
  absl::StatusOr<ModelConfig> config = ModelConfigFromGguf(**file);
  EXPECT_TRUE(config.ok()) << config.status();
  const GgufModelSource source(**file, *config);
  std::unique_ptr<CausalLm> model = BuildModel(*config, DType::kF32);
  LoadReport report;
  const absl::Status status = LoadWeights(*model, source, DenseFactory(DType::kF32, false), false, &report);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(report.unexpected.empty());
  return model;
}

TEST(GgufModelTest, ReadsTheSameModelsAsTheirDirectories) {
  for (const std::string name :
       {"llama3_rope", "llama_tied", "phi3", "phi3_long", "phi3_short", "qwen2", "qwen3", "qwen3_yarn"}) {
    const std::unique_ptr<CausalLm> model = LoadGguf(name);
    const Golden golden = OpenGolden(name);
    const Input in = MakeInput(golden);
    ExpectClose(model->Logits(model->Hidden(in.batch, nullptr).value()), golden["logits"], 1e-4, name);
  }
}

// The window of 4 is shorter than the sequences, and the 6th layer of Gemma 3 has none.
TEST(GgufModelTest, GemmasLogitsAreTransformers) {
  for (const std::string name : {"gemma2", "gemma3"}) {
    const std::unique_ptr<CausalLm> model = LoadGguf(name);
    const Golden golden = {*SafetensorsFile::Open("tests/golden/gguf/" + name + ".safetensors")};
    const Tensor tokens = golden["tokens"];
    std::vector<int32_t> positions;
    for (int32_t i = 0; i < 22; ++i) positions.push_back(i % 11);
    const Batch batch = {tokens.Reshape({22}), Tensor::From<int32_t>(positions, {22}),
                         Tensor::From<int32_t>({0, 11, 22}, {3})};
    ExpectClose(model->Logits(model->Hidden(batch, nullptr).value()), golden["logits"], 1e-4, name);
  }
}

TEST(LoadTest, AMissingTensorIsNamedWithItsNearestNeighbours) {
  absl::StatusOr<std::unique_ptr<TensorSource>> source = OpenSafetensorsDirectory("tests/golden/models/llama_tied");
  ASSERT_TRUE(source.ok());
  const absl::StatusOr<Tensor> t = ReadChecked(**source, "model.layers.0.mlp.up_prj.weight", {48, 32});
  EXPECT_EQ(t.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(t.status().message(), "did you mean model.layers.0.mlp.up_proj.weight")) << t.status();
}

TEST(LoadTest, AWrongShapeSaysWhatWasExpected) {
  absl::StatusOr<std::unique_ptr<TensorSource>> source = OpenSafetensorsDirectory("tests/golden/models/llama_tied");
  ASSERT_TRUE(source.ok());
  const absl::StatusOr<Tensor> t = ReadChecked(**source, "model.norm.weight", {33});
  EXPECT_TRUE(absl::StrContains(t.status().message(), "has shape [32], but the configuration asks for [33]"))
      << t.status();
}

}  // namespace
}  // namespace lorikeet
