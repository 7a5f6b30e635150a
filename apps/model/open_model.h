// Opening a model for a program: weights, configuration and tokenizer, from a Hugging Face directory or one GGUF file.
//
//   absl::StatusOr<OpenedModel> m = OpenModel("SmolLM2-135M.gguf", {.compute_dtype = DType::kBF16});
//   Variable h = m->lm->Hidden(batch, nullptr);
//
// Weights stream in one tensor at a time and become the compute dtype, NF4 or f32 (trainable) at once. A directory that
// transformers and bitsandbytes wrote in 4 bits is read as it is, packed; one with model.safetensors.zst in place of
// model.safetensors is decoded into memory (up to 1 GiB). An empty path is the small model that ships
// with Lorikeet. Ownership: the caller. Errors name the file and what to do.
#ifndef LORIKEET_APPS_MODEL_OPEN_MODEL_H_
#define LORIKEET_APPS_MODEL_OPEN_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "apps/text/tokenizer.h"
#include "apps/text/tokenizer_json.h"
#include "nn/causal_lm.h"
#include "nn/model_config.h"
#include "quant/nf4.h"
#include "tensor/device.h"
#include "tensor/io/tensor_source.h"

namespace lorikeet {

enum class WeightUse : uint8_t {
  kFrozen,     // in the compute dtype
  kQuantized,  // linear layers but the head in 4 bits, the rest in the compute dtype; a source with 4-bit weights is
               // not quantized further
  kTrainable,  // in f32
};

struct OpenOptions {
  DType compute_dtype = DType::kF32;
  WeightUse use = WeightUse::kFrozen;
  Nf4Options quant = {};
  Device device = kCpu;             // where the weights go, each as it is read
  bool offload_embeddings = false;  // but for the embedding (nn/host_embedding.h), which must be frozen and not tied
};

// A model's files, opened but not yet read.
class ModelFiles {
 public:
  virtual ~ModelFiles() = default;
  virtual const ModelConfig& config() const = 0;
  virtual const std::string& config_json() const = 0;  // the text of config.json; empty for GGUF
  virtual const TensorSource& weights() const = 0;
  // The tokenizer, and its files' texts: those of the directory, or made from GGUF's values.
  virtual const text::BpeSpec& tokenizer_spec() const = 0;
  virtual const text::TokenizerFiles& tokenizer_files() const = 0;
};
absl::StatusOr<std::unique_ptr<ModelFiles>> OpenModelFiles(const std::string& path);

// Whether some weight is stored in 4 bits, as bitsandbytes does.
bool HoldsNf4(const TensorSource& source);

struct OpenedModel {
  std::string path;  // "" became the small model's
  std::unique_ptr<ModelFiles> files;
  std::unique_ptr<CausalLm> lm;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::vector<std::string> warnings;
};
absl::StatusOr<OpenedModel> OpenModel(const std::string& path, const OpenOptions& options);

// OpenModel in two halves, for a program that has other input to read before it spends time on weights: first
// everything but `lm`, then that.
absl::StatusOr<OpenedModel> OpenWithoutWeights(const std::string& path);
absl::Status LoadWeights(const OpenOptions& options, OpenedModel* model);

// "auto" means bf16 where the device multiplies it in hardware, else f32.
absl::StatusOr<DType> ParseComputeDtype(absl::string_view name, Device device = kCpu);

// The directory of the small model among the runfiles.
absl::StatusOr<std::string> SmallModelPath();

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_OPEN_MODEL_H_
