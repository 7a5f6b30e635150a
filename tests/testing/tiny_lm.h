// The tiny checkpoints of tests/golden/models as models, for stories that need a whole language model in milliseconds.
//
//   std::unique_ptr<CausalLm> lm = TinyLm("llama_untied", DenseFactory(DType::kF32, false));
//
// Vocabulary 97, hidden size 32, two layers. A test that uses it lists //tests/golden:models as data.
#ifndef LORIKEET_TESTS_TESTING_TINY_LM_H_
#define LORIKEET_TESTS_TESTING_TINY_LM_H_

#include <memory>
#include <string>
#include <vector>

#include "apps/text/dataset.h"
#include "nn/causal_lm.h"
#include "nn/load.h"
#include "nn/model_config.h"
#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/io/device_source.h"
#include "tensor/io/file.h"
#include "tensor/io/sharded_safetensors.h"
#include "tensor/random.h"

namespace lorikeet {

inline std::unique_ptr<CausalLm> TinyLm(const std::string& name, const MapFactory& factory, bool trainable = false,
                                        Device device = kCpu, DType compute = DType::kF32) {
  const std::string dir = "tests/golden/models/" + name;
  absl::StatusOr<std::string> json = ReadFileToString(dir + "/config.json", 1 << 20);
  LORIKEET_CHECK(json.ok()) << json.status();
  absl::StatusOr<ModelConfig> config = ParseModelConfig(*json, dir);
  LORIKEET_CHECK(config.ok()) << config.status();
  absl::StatusOr<std::unique_ptr<TensorSource>> source = OpenSafetensorsDirectory(dir);
  LORIKEET_CHECK(source.ok()) << source.status();
  std::unique_ptr<CausalLm> model = BuildModel(*config, compute);
  const absl::Status status = LoadWeights(*model, DeviceSource(**source, device), factory, trainable, nullptr);
  LORIKEET_CHECK(status.ok()) << status;
  return model;
}

// Rows of random tokens with prompts and answers of unequal length.
inline std::vector<text::Example> RandomExamples(int64_t count, uint64_t seed) {
  std::vector<text::Example> examples;
  for (int64_t i = 0; i < count; ++i) {
    const RngKey key = RngKey{.seed = seed}.Fold(static_cast<uint64_t>(i));
    const uint32_t prompt = 2 + Philox(key, 0).v[0] % 7, answer = 1 + Philox(key, 0).v[1] % 9;
    text::Example e;
    for (uint32_t t = 0; t < prompt + answer; ++t) {
      e.tokens.push_back(static_cast<int32_t>(Philox(key, 1 + t).v[0] % 97));
      e.loss_mask.push_back(t >= prompt);
    }
    examples.push_back(std::move(e));
  }
  return examples;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_TINY_LM_H_
