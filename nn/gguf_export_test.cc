#include "nn/gguf_export.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nn/gguf_architecture.h"
#include "nn/gguf_model.h"
#include "nn/model_config.h"
#include "nn/rope_factors.h"
#include "tensor/io/file.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_blocks.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/io/gguf_writer.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/sharded_safetensors.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

const std::string kGolden = "tests/golden/";

ModelConfig Config(const std::string& model) {
  const std::string path = absl::StrCat(kGolden, "models/", model, "/config.json");
  const absl::StatusOr<std::string> json = ReadFileToString(path, 1 << 20);
  EXPECT_TRUE(json.ok()) << json.status();
  const absl::StatusOr<ModelConfig> config = ParseModelConfig(*json, path);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

// A GGUF file of a model's values and its tensors in f32.
std::unique_ptr<GgufFile> Exported(const ModelConfig& config, const TensorSource& model) {
  const GgufArchitecture& architecture = *GgufArchitectureOf(config.model_type);
  GgufValues values;
  AddModelValues(config, &values);
  std::vector<GgufSpec> specs;
  for (const TensorInfo& t : model.tensors())
    specs.push_back({GgufName(architecture, t.name), FindGgufFormat("F32"), t.shape});
  for (const RopeTensor& t : RopeTensors(config)) specs.push_back({t.name, FindGgufFormat("F32"), t.factors.shape()});
  const std::string path = testing::TempDir() + "/exported.gguf";
  auto writer = GgufWriter::Create(path, values, specs);
  EXPECT_TRUE(writer.ok()) << writer.status();
  for (const TensorInfo& t : model.tensors()) {
    const std::string name = GgufName(architecture, t.name);
    EXPECT_TRUE((*writer)->Write(name, ToGguf(architecture, config, name, *model.Read(t.name))).ok());
  }
  for (const RopeTensor& t : RopeTensors(config)) EXPECT_TRUE((*writer)->Write(t.name, t.factors).ok());
  EXPECT_TRUE((*writer)->Finish().ok());
  auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return *std::move(file);
}

bool SameBits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && a.size() > 0 &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.nbytes())) == 0;
}

TEST(GgufExportTest, TensorsAndValuesAreThoseOfTheGoldenFiles) {
  for (const char* name : {"llama_tied", "phi3", "phi3_long", "qwen2", "qwen3", "qwen3_yarn"}) {
    const auto golden = GgufFile::Open(absl::StrCat(kGolden, "gguf/", name, ".gguf"));
    const auto model = OpenSafetensorsDirectory(absl::StrCat(kGolden, "models/", name));
    ASSERT_TRUE(golden.ok() && model.ok()) << golden.status() << model.status();
    const std::unique_ptr<GgufFile> ours = Exported(Config(name), **model);
    ASSERT_EQ(ours->tensors().size(), (*golden)->tensors().size());
    for (const TensorInfo& t : (*golden)->tensors())
      EXPECT_TRUE(SameBits(*ours->Read(t.name), *(*golden)->Read(t.name))) << name << " " << t.name;
    const GgufMetadata &got = ours->metadata(), &want = (*golden)->metadata();
    const std::string architecture = want.String("general.architecture").value();
    for (const char* key :
         {"context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count",
          "attention.head_count_kv", "vocab_size", "rope.scaling.original_context_length"}) {
      const std::string full = absl::StrCat(architecture, ".", key);
      ASSERT_EQ(got.Has(full), want.Has(full)) << full;
      if (want.Has(full)) {
        EXPECT_EQ(got.Int(full).value(), want.Int(full).value()) << full;
      }
    }
    for (const char* key :
         {"attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.attn_factor", "rope.scaling.factor"}) {
      const std::string full = absl::StrCat(architecture, ".", key);
      ASSERT_EQ(got.Has(full), want.Has(full)) << full;
      if (want.Has(full)) {
        EXPECT_EQ(got.Float(full).value(), want.Float(full).value()) << full;
      }
    }
  }
}

TEST(GgufExportTest, TheConfigurationIsReadBackAsItWas) {
  for (const bool linear : {false, true}) {
    ModelConfig c = Config("qwen2");
    if (linear) c.rope_scaling = {.kind = RopeScaling::Kind::kLinear, .factor = 4};
    const auto model = OpenSafetensorsDirectory(kGolden + "models/qwen2");
    const absl::StatusOr<ModelConfig> read = ModelConfigFromGguf(*Exported(c, **model));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->rope_scaling.kind, c.rope_scaling.kind);
    EXPECT_EQ(read->rope_scaling.factor, c.rope_scaling.factor);
    c.bos_token_ids.clear(), c.eos_token_ids.clear();  // the tokenizer's to say
    c.rope_scaling = {};
    ModelConfig rest = *read;
    rest.rope_scaling = {};
    EXPECT_EQ(ModelConfigToJson(rest, "float32"), ModelConfigToJson(c, "float32"));
  }
}

TEST(GgufExportTest, ScalingsThatLlamaCppHasNoWordForAreRefused) {
  ModelConfig c = Config("qwen3_yarn");
  EXPECT_TRUE(CheckGgufRope(c).ok());
  c.rope_scaling.attention_factor = 1 + 0.1 * std::log(4);  // which is the scheme's own
  EXPECT_TRUE(CheckGgufRope(c).ok());
  c.rope_scaling.attention_factor = 1;
  EXPECT_TRUE(absl::StrContains(CheckGgufRope(c).message(), "attention_factor of its own"));
  c.rope_scaling.attention_factor = 0;
  c.rope_scaling.truncate = false;
  EXPECT_TRUE(absl::StrContains(CheckGgufRope(c).message(), "truncate false"));
  c = Config("phi3_long");
  EXPECT_TRUE(CheckGgufRope(c).ok());
  c.model_type = "llama";
  EXPECT_TRUE(absl::StrContains(CheckGgufRope(c).message(), "only Phi-3's has"));
}

TEST(GgufExportTest, NamesThatGgufLacksAreEmpty) {
  const GgufArchitecture& llama = *FindGgufArchitecture("llama");
  EXPECT_EQ(GgufName(llama, "model.layers.12.mlp.down_proj.weight"), "blk.12.ffn_down.weight");
  EXPECT_EQ(GgufName(llama, "lm_head.weight"), "output.weight");
  for (const char* name : {"", "weight", "model.layers.3.self_attn.rotary_emb.inv_freq", "model.layers.x",
                           "score.weight", "model.layers.3.self_attn.q_norm.weight"})
    EXPECT_EQ(GgufName(llama, name), "") << name;
}

TEST(GgufExportTest, TheSameNameMeansOtherPartsInOtherArchitectures) {
  const char* const norm = "blk.3.ffn_norm.weight";
  EXPECT_EQ(HuggingFaceName(*FindGgufArchitecture("qwen3"), norm), "model.layers.3.post_attention_layernorm.weight");
  EXPECT_EQ(HuggingFaceName(*FindGgufArchitecture("gemma3"), norm), "model.layers.3.pre_feedforward_layernorm.weight");
  for (const char* name : {"gemma2", "gemma3", "llama", "phi3", "qwen2", "qwen3"}) {
    const GgufArchitecture& a = *FindGgufArchitecture(name);
    EXPECT_EQ(GgufName(a, HuggingFaceName(a, norm)), norm) << name;
  }
}

}  // namespace
}  // namespace lorikeet
