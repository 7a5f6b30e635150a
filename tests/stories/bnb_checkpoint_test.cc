// Directories that transformers wrote with bitsandbytes, in NF4 and FP4: they compute what transformers' weights
// compute, and quantize writes them again byte for byte.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/model/open_model.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "nn/causal_lm.h"
#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/io/safetensors.h"
#include "tensor/tensor.h"
#include "tests/testing/run_program.h"
#include "tests/testing/sequences.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  LORIKEET_CHECK(value.ok()) << value.status();
  return *std::move(value);
}

class BnbCheckpointTest : public testing::TestWithParam<std::string> {
 protected:
  BnbCheckpointTest()
      : directory(TinyModel(GetParam(), "bnb")),
        golden(OrDie(SafetensorsFile::Open(absl::StrCat("tests/golden/bnb/", GetParam(), "/golden.safetensors")))) {}

  const std::string directory;
  const std::unique_ptr<SafetensorsFile> golden;
};

TEST_P(BnbCheckpointTest, ItsLogitsAreThoseOfTheDecodedWeights) {
  for (bool load_in_4bit : {false, true}) {  // what is dense in a packed directory stays so
    const OpenedModel m =
        OrDie(OpenModel(directory, {.use = load_in_4bit ? WeightUse::kQuantized : WeightUse::kFrozen}));
    EXPECT_TRUE(m.warnings.empty());
    const Tensor want = OrDie(golden->Read("logits"));
    const Variable hidden = m.lm->Hidden(SequencesOf(OrDie(golden->Read("tokens"))), nullptr);
    const Tensor got = m.lm->Logits(hidden.value()).Contiguous();
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < static_cast<size_t>(want.size()); ++i) {
      const float g = got.data<float>()[i], w = want.data<float>()[i];
      ASSERT_FALSE(!(std::abs(g - w) <= 2e-5)) << g << " " << w;
    }
  }
}

TEST_P(BnbCheckpointTest, QuantizeWritesItAgainByteForByte) {
  const std::string out = FreshPath("again");
  const Outcome o = RunProgram(absl::StrCat("quantize --model=", directory, " --output_dir=", out));
  ASSERT_EQ(o.code, 0) << o.err;
  int weights = 0;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (!absl::EndsWith(name, ".safetensors") && name != "config.json") continue;
    weights += name != "config.json";
    EXPECT_EQ(Contents(out + "/" + name), Contents(entry.path().string())) << name;
  }
  EXPECT_EQ(weights > 1, absl::EndsWith(GetParam(), "_shards"));
  const nlohmann::json config = nlohmann::json::parse(Contents(out + "/config.json"))["quantization_config"];
  EXPECT_EQ(config["bnb_4bit_quant_type"], absl::StartsWith(GetParam(), "fp4") ? "fp4" : "nf4");
}

TEST_P(BnbCheckpointTest, AnotherFormatThanItHasIsRefused) {
  const std::string out = FreshPath("other");
  const Outcome o =
      RunProgram(absl::StrCat("quantize --quant_block_size=128 --model=", directory, " --output_dir=", out));
  EXPECT_EQ(o.code, 2);
  EXPECT_TRUE(absl::StrContains(o.err, "in 4 bits already")) << o.err;
  EXPECT_FALSE(fs::exists(out));
}

INSTANTIATE_TEST_SUITE_P(Directories, BnbCheckpointTest,
                         testing::Values("nf4_double_bf16", "fp4_f16", "nf4_f32_skip", "fp4_double_bf16_shards",
                                         "nf4_bf16_storage"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lorikeet
