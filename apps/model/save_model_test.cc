#include "apps/model/save_model.h"

#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "apps/model/logit_error.h"
#include "apps/model/open_model.h"
#include "apps/model/stored_source.h"
#include "gtest/gtest.h"
#include "peft/merge.h"
#include "tensor/tensor.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

OpenedModel Open(const std::string& dir, const OpenOptions& options = {}) {
  absl::StatusOr<OpenedModel> m = OpenModel(dir, options);
  EXPECT_TRUE(m.ok()) << m.status();
  EXPECT_TRUE(m->warnings.empty());
  return *std::move(m);
}

std::string Save(const OpenedModel& m, const TensorSource& weights, const SaveModelOptions& options) {
  const std::string dir = FreshPath("saved");
  fs::create_directories(dir);
  const absl::Status s = SaveModel(dir, m.files->config(), m.files->tokenizer_files(), weights, options);
  EXPECT_TRUE(s.ok()) << s;
  return dir;
}

void ExpectSameTensors(const TensorSource& a, const TensorSource& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const TensorInfo& info : a.tensors()) {
    const Tensor x = a.Read(info.name)->Contiguous(), y = b.Read(info.name).value_or(Tensor());
    ASSERT_TRUE(y.defined()) << info.name;
    ASSERT_EQ(Describe(x), Describe(y)) << info.name;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.nbytes())), 0) << info.name;
  }
}

TEST(SaveModelTest, WhatIsOpenedAndSavedIsTheSameModelToTheBit) {
  for (const char* name : {"gemma2", "gemma3", "gpt2", "llama_tied", "llama_untied", "llama3_rope", "mistral", "phi3",
                           "phi3_long", "qwen2", "qwen3", "qwen3_yarn"}) {
    SCOPED_TRACE(name);
    const OpenedModel m = Open(TinyModel(name));
    const OpenedModel again = Open(Save(m, MergedSource(*m.lm, DType::kF32), {.dtype = DType::kF32}));
    ExpectSameTensors(m.files->weights(), again.files->weights());
    EXPECT_EQ(ModelConfigToJson(m.files->config(), ""), ModelConfigToJson(again.files->config(), ""));
    EXPECT_EQ(m.tokenizer->Encode("a b~"), again.tokenizer->Encode("a b~"));
  }
}

TEST(SaveModelTest, ATiedHeadIsNotWritten) {
  const OpenedModel m = Open(TinyModel("llama_tied"));
  const OpenedModel again = Open(Save(m, MergedSource(*m.lm, DType::kBF16), {}));
  EXPECT_TRUE(again.files->config().tie_word_embeddings);
  EXPECT_EQ(again.files->weights().Find("lm_head.weight"), nullptr);
  EXPECT_EQ(again.files->weights().Find("model.embed_tokens.weight")->stored_type, "BF16");
}

TEST(SaveModelTest, AboveTheLimitItIsWrittenInShardsWithAnIndex) {
  const OpenedModel m = Open(TinyModel("llama_untied"));
  const std::string dir = Save(m, MergedSource(*m.lm, DType::kF32), {.dtype = DType::kF32, .max_shard_bytes = 40'000});
  EXPECT_TRUE(fs::exists(dir + "/model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(dir + "/model.safetensors"));
  for (const auto& entry : fs::directory_iterator(dir)) {
    EXPECT_LT(entry.file_size(), 45'000u) << entry.path();
  }
  ExpectSameTensors(m.files->weights(), Open(dir).files->weights());
}

TEST(SaveModelTest, AModelIn4BitsIsReadBackByteForByte) {
  const OpenedModel m = Open(TinyModel("qwen2"), {.use = WeightUse::kQuantized});
  const StoredSource stored(*m.lm, DType::kF32);
  const std::string dir =
      Save(m, stored, {.dtype = DType::kF32, .quantization_config = R"({"quant_method": "bitsandbytes"})"});
  const OpenedModel again = Open(dir);
  ASSERT_NE(again.files->weights().Find("model.layers.1.mlp.up_proj.weight.quant_state.bitsandbytes__nf4"), nullptr);
  ExpectSameTensors(stored, again.files->weights());
  ExpectSameTensors(stored, StoredSource(*again.lm, DType::kF32));
}

TEST(SaveModelTest, EveryFamilyInF32IsStoredUnderTheNamesAndShapesOfItsCheckpoint) {
  for (const char* name : {"gemma2", "gpt2", "phi3", "qwen3"}) {
    SCOPED_TRACE(name);
    const OpenedModel m = Open(TinyModel(name));
    ExpectSameTensors(m.files->weights(), StoredSource(*m.lm, DType::kF32));
  }
}

// The linear layers of a model, or the names of what is packed in it.
std::vector<std::string> PackedWeights(const TensorSource& source) {
  std::vector<std::string> names;
  for (const TensorInfo& t : source.tensors()) {
    if (absl::EndsWith(t.name, ".absmax") && !absl::EndsWith(t.name, ".nested_absmax")) names.push_back(t.name);
  }
  return names;
}

TEST(SaveModelTest, EveryFamilyIn4BitsIsReadBackByteForByteAndNearItsDenseSelf) {
  const std::vector<std::vector<int32_t>> prompts = {{5, 3, 80, 41, 7, 7, 12, 90}};
  const std::pair<const char*, size_t> families[] = {{"gemma2", 14},  {"gemma3", 14}, {"gpt2", 8},
                                                     {"mistral", 14}, {"phi3", 8},    {"qwen3", 14}};
  for (const auto& [name, linear_layers] : families) {
    SCOPED_TRACE(name);
    const OpenedModel dense = Open(TinyModel(name)), m = Open(TinyModel(name), {.use = WeightUse::kQuantized});
    const StoredSource stored(*m.lm, DType::kF32);
    EXPECT_EQ(PackedWeights(stored).size(), linear_layers);
    const OpenedModel again =
        Open(Save(m, stored, {.dtype = DType::kF32, .quantization_config = R"({"quant_method": "bitsandbytes"})"}));
    ExpectSameTensors(stored, StoredSource(*again.lm, DType::kF32));
    const std::vector<Tensor> want = LastLogits(*dense.lm, prompts, 8), got = LastLogits(*m.lm, prompts, 8);
    EXPECT_EQ(CompareLogits(got, LastLogits(*again.lm, prompts, 8)).max, 0);
    // A transposed or forgotten matrix would move the logits by about their own size.
    const LogitError zero = CompareLogits(want, {Tensor::Zeros(want[0].shape(), DType::kF32)});
    const double moved = CompareLogits(want, got).mean;
    EXPECT_TRUE(moved > 0 && moved < 0.35 * zero.mean) << moved << " of " << zero.mean;
  }
}

TEST(SaveModelTest, ADirectoryThatIsNotThereIsAnErrorWithItsPath) {
  const OpenedModel m = Open(TinyModel("llama_tied"));
  const absl::Status s =
      SaveModel("/nowhere/model", m.files->config(), m.files->tokenizer_files(), MergedSource(*m.lm, DType::kBF16), {});
  EXPECT_EQ(s.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(s.message()).find("/nowhere/model"), std::string::npos);
}

}  // namespace
}  // namespace lorikeet
