#include "nn/load.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "nn/causal_lm.h"
#include "nn/linear_map.h"
#include "nn/model_config.h"
#include "nn/module.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

// A "file" in memory.
class FakeSource : public TensorSource {
 public:
  void Put(const std::string& name, const Shape& shape, DType dtype = DType::kF32) {
    data_[name] = Tensor::Full(shape, 0.5, dtype);
    infos_.push_back({.name = name, .stored_type = "F32", .shape = shape});
  }
  void Remove(const std::string& name) {
    std::erase_if(infos_, [&](const TensorInfo& t) { return t.name == name; });
  }
  void FailOn(const std::string& name) { broken_ = name; }

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* Find(absl::string_view name) const override {
    for (const TensorInfo& t : infos_) {
      if (t.name == name) return &t;
    }
    return nullptr;
  }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override {
    if (name == broken_) return absl::DataLossError("the disk failed");
    return data_.at(std::string(name));
  }
  const std::string& where() const override { return where_; }

 private:
  std::string where_ = "fake.safetensors";
  std::map<std::string, Tensor> data_;
  std::vector<TensorInfo> infos_;
  std::string broken_;
};

ModelConfig Tiny() {
  ModelConfig c;
  c.vocab_size = 7, c.hidden_size = 4, c.intermediate_size = 6, c.num_layers = 1;
  c.num_heads = 2, c.num_kv_heads = 1, c.head_dim = 2;
  return c;
}

class LoadTest : public testing::Test {
 protected:
  LoadTest() { FillWith(BuildModel(config_, DType::kF32)); }

  // What a checkpoint of this model contains.
  void FillWith(const std::unique_ptr<CausalLm>& model) {
    class Fill : public Visitor {
     public:
      explicit Fill(FakeSource& s) : source(s) {}
      FakeSource& source;

     protected:
      void VisitLeaf(absl::string_view name, Parameter& p) override {
        source.Put(std::string(name), p.value.shape(), DType::kBF16);
      }
      void VisitSlot(absl::string_view name, MapSlot& slot) override {
        source.Put(std::string(name) + ".weight", slot.stored_shape(), DType::kBF16);
      }
    } fill(source_);
    model->Visit(fill);
  }

  absl::Status Load(bool trainable = false, DType dtype = DType::kF32) {
    model_ = BuildModel(config_, dtype);
    return LoadWeights(*model_, source_, DenseFactory(dtype, trainable), trainable, &report_);
  }
  void ExpectError(const std::string& message) { EXPECT_EQ(Load(), absl::InvalidArgumentError(message)); }

  ModelConfig config_ = Tiny();
  FakeSource source_;
  LoadReport report_;
  std::unique_ptr<CausalLm> model_;
};

TEST_F(LoadTest, AWholeCheckpointFillsEverySlot) {
  ASSERT_EQ(Load(), absl::OkStatus());
  EXPECT_TRUE(report_.unexpected.empty());
  EXPECT_EQ(model_->head().Dense().shape(), (Shape{7, 4}));
  EXPECT_EQ(model_->head().Dense().Slice(0, 0, 1).Slice(1, 0, 1).item(), 0.5);
  EXPECT_TRUE(model_->head().frozen());
}

TEST_F(LoadTest, TrainableWeightsAreF32AndFrozenOnesOfTheComputeDType) {
  ASSERT_EQ(Load(/*trainable=*/true, DType::kBF16), absl::OkStatus());
  EXPECT_EQ(model_->head().dtype(), DType::kF32);
  EXPECT_FALSE(model_->head().frozen());
  ASSERT_EQ(Load(/*trainable=*/false, DType::kBF16), absl::OkStatus());
  EXPECT_EQ(model_->head().dtype(), DType::kBF16);
}

TEST_F(LoadTest, FrozenWeightsThatAreStoredInBF16StaySoBesideF32) {
  ASSERT_EQ(Load(/*trainable=*/false, DType::kF32), absl::OkStatus());
  EXPECT_EQ(model_->head().dtype(), DType::kBF16);
  ASSERT_EQ(Load(/*trainable=*/true, DType::kF32), absl::OkStatus());
  EXPECT_EQ(model_->head().dtype(), DType::kF32);
}

TEST_F(LoadTest, AMissingTensorIsNamedWithItsNearest) {
  source_.Remove("model.norm.weight");
  source_.Put("model.norms.weight", {4});
  const absl::Status s = Load();
  EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(s.message().find("fake.safetensors: tensor model.norm.weight is missing; did you mean model.norms.weight"),
            0u)
      << s;
}

TEST_F(LoadTest, AMissingMatrixIsNamed) {
  source_.Remove("lm_head.weight");
  const absl::Status s = Load();
  EXPECT_EQ(s.message().find("fake.safetensors: tensor lm_head.weight is missing"), 0u) << s;
}

TEST_F(LoadTest, AWrongShapeIsNamedForMatricesAndForLeaves) {
  source_.Remove("model.norm.weight");
  source_.Put("model.norm.weight", {5});
  ExpectError("fake.safetensors: tensor model.norm.weight has shape [5], but the configuration asks for [4]");
  source_.Remove("model.layers.0.mlp.up_proj.weight");
  source_.Put("model.layers.0.mlp.up_proj.weight", {4, 6});
  ExpectError(
      "fake.safetensors: tensor model.layers.0.mlp.up_proj.weight has shape [4,6], but the configuration asks for "
      "[6,4]");
}

TEST_F(LoadTest, AFailedReadIsPassedOnAndEndsTheLoad) {
  source_.FailOn("model.layers.0.self_attn.k_proj.weight");
  EXPECT_EQ(Load(), absl::DataLossError("the disk failed"));
}

TEST_F(LoadTest, UnexpectedTensorsAreReportedButNoError) {
  source_.Put("model.layers.1.mlp.up_proj.weight", {6, 4});
  source_.Put("model.layers.0.self_attn.rotary_emb.inv_freq", {1});  // old checkpoints have it
  ASSERT_EQ(Load(), absl::OkStatus());
  EXPECT_EQ(report_.unexpected, (std::vector<std::string>{"model.layers.1.mlp.up_proj.weight"}));
}

TEST_F(LoadTest, ATiedModelPassesOverACopyOfTheHead) {
  config_.tie_word_embeddings = true;
  ASSERT_EQ(Load(), absl::OkStatus());
  EXPECT_TRUE(report_.unexpected.empty());
  EXPECT_TRUE(model_->tied_head());
}

// Everything of a source under the names that it has without "model.", but those of the head.
std::unique_ptr<FakeSource> Body(const FakeSource& whole, const std::string& prefix) {
  auto body = std::make_unique<FakeSource>();
  for (const TensorInfo& t : whole.tensors()) {
    if (t.name.rfind(prefix, 0) == 0) body->Put(t.name.substr(prefix.size()), t.shape);
  }
  return body;
}

TEST_F(LoadTest, ACheckpointOfTheBodyAloneIsReadUnderTheModelsNames) {
  config_.tie_word_embeddings = true;
  for (const std::string type : {"llama", "gpt2"}) {
    config_.model_type = type;
    source_ = FakeSource();
    FillWith(BuildModel(config_, DType::kF32));
    const std::unique_ptr<TensorSource> source =
        UnderModelNames(Body(source_, type == "gpt2" ? "transformer." : "model."), config_);
    const std::unique_ptr<CausalLm> model = BuildModel(config_, DType::kF32);
    EXPECT_EQ(LoadWeights(*model, *source, DenseFactory(DType::kF32, false), false, &report_), absl::OkStatus());
    EXPECT_TRUE(report_.unexpected.empty());
    EXPECT_EQ(source->tensors().size(), source_.tensors().size());
    EXPECT_EQ(source->Find("nothing"), nullptr);
  }
}

TEST_F(LoadTest, AWholeCheckpointKeepsItsNames) {
  auto whole = std::make_unique<FakeSource>(source_);
  const TensorSource* same = whole.get();
  EXPECT_EQ(UnderModelNames(std::move(whole), config_).get(), same);
}

TEST_F(LoadTest, AConv1DsWeightLiesTransposed) {
  config_.model_type = "gpt2";
  config_.tie_word_embeddings = true;
  source_ = FakeSource();
  FillWith(BuildModel(config_, DType::kF32));
  ASSERT_EQ(source_.Find("transformer.h.0.mlp.c_fc.weight")->shape, (Shape{4, 6}));
  ASSERT_EQ(Load(), absl::OkStatus());
  source_.Remove("transformer.h.0.mlp.c_fc.weight");
  source_.Put("transformer.h.0.mlp.c_fc.weight", {6, 4});
  ExpectError(
      "fake.safetensors: tensor transformer.h.0.mlp.c_fc.weight has shape [6,4], but the configuration asks for [4,6]");
}

TEST_F(LoadTest, TheFactorySeesEachSlotOnceUnderItsName) {
  std::vector<std::string> names;
  const MapFactory dense = DenseFactory(DType::kF32, false);
  model_ = BuildModel(config_, DType::kF32);
  const MapFactory factory = [&](absl::string_view name, const MapSlot& slot, const TensorSource& source) {
    names.emplace_back(name);
    return dense(name, slot, source);
  };
  ASSERT_EQ(LoadWeights(*model_, source_, factory, false, nullptr), absl::OkStatus());
  ASSERT_EQ(names.size(), 9u);  // embedding, q, k, v, o, gate, up, down, head
  EXPECT_EQ(names.front(), "model.embed_tokens");
  EXPECT_EQ(names.back(), "lm_head");
}

}  // namespace
}  // namespace lorikeet
