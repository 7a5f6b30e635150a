#include "peft/adapter_file.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "peft/inject.h"
#include "peft/testing.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/testing.h"

namespace lorikeet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Fresh(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  std::filesystem::remove_all(path);
  return path;
}

std::string Bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

// Gives the model a trained adapter and returns its configuration.
AdapterConfig Adapt(TinyModel& model, bool dora) {
  AdapterConfig c;
  c.r = 2, c.use_dora = dora, c.base_model_name_or_path = "tiny";
  EXPECT_TRUE(Inject(model, c, RngKey{.seed = 1}, nullptr).ok());
  uint32_t seed = 100;
  for (Parameter* p : TrainableParameters(model)) {
    tensor::CopyInto(tensor::RandomTensor(p->value.shape(), DType::kF32, seed++, 0.2, 1), p->value);
  }
  return c;
}

std::string LoadMessage(const std::string& directory) {
  TinyModel model;
  return std::string(LoadAdapter(directory, model, nullptr).status().message());
}

TEST(AdapterFileTest, SavingLoadingAndSavingAgainGivesTheSameBytes) {
  for (const bool dora : {false, true}) {
    const std::string first = Fresh("first"), second = Fresh("second/below");
    TinyModel model, again;
    ASSERT_TRUE(SaveAdapter(first, model, Adapt(model, dora)).ok());
    const absl::StatusOr<LoadedAdapter> loaded = LoadAdapter(first, again, nullptr);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_TRUE(loaded->warnings.empty());
    EXPECT_EQ(loaded->modules.size(), 6u);
    ASSERT_TRUE(SaveAdapter(second, again, loaded->config).ok());
    for (const char* name : {"/adapter_model.safetensors", "/adapter_config.json"}) {
      EXPECT_EQ(Bytes(first + name), Bytes(second + name)) << name;
    }
  }
}

TEST(AdapterFileTest, ALoadedAdapterComputesWhatTheSavedOneDid) {
  const std::string directory = Fresh("values");
  TinyModel model, again;
  ASSERT_TRUE(SaveAdapter(directory, model, Adapt(model, /*dora=*/true)).ok());
  ASSERT_TRUE(LoadAdapter(directory, again, nullptr).ok());
  const Tensor x = tensor::RandomTensor({5, 6}, DType::kF32, 9);
  EXPECT_TRUE(SameBytes(model.linear(2).Apply(x).value(), again.linear(2).Apply(x).value()));
}

TEST(AdapterFileTest, AnUntrainedAdapterLeavesNoFile) {
  const std::string directory = Fresh("untrained");
  TinyModel model;
  ASSERT_TRUE(Inject(model, AdapterConfig(), RngKey{.seed = 1}, nullptr).ok());
  EXPECT_EQ(SaveAdapter(directory, model, AdapterConfig()).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(AdapterFileTest, APickledAdapterIsRefused) {
  const std::string directory = Fresh("pickle");
  std::filesystem::create_directory(directory);
  std::ofstream(directory + "/adapter_config.json") << "{\"peft_type\":\"LORA\",\"target_modules\":\"all-linear\"}";
  EXPECT_THAT(LoadMessage(directory), HasSubstr("adapter_model.safetensors"));
  std::ofstream(directory + "/adapter_model.bin") << "\x80\x02";
  EXPECT_THAT(LoadMessage(directory),
              AllOf(HasSubstr("adapter_model.bin is a Python pickle"), HasSubstr("save_pretrained")));
}

TEST(AdapterFileTest, AMissingDirectoryIsNamed) {
  EXPECT_THAT(LoadMessage("/nowhere/adapter"), HasSubstr("/nowhere/adapter/adapter_config.json"));
}

}  // namespace
}  // namespace lorikeet
