#include "apps/model/gguf_proof.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "apps/text/gguf_export.h"
#include "nn/gguf_architecture.h"
#include "nn/gguf_model.h"
#include "nn/load.h"
#include "nn/rope_factors.h"
#include "tensor/io/gguf.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

// As JSON, without what the tokenizer says.
std::string Sizes(ModelConfig config) {
  config.bos_token_ids.clear();
  config.eos_token_ids.clear();
  return ModelConfigToJson(config, "");
}

absl::Status CheckConfig(const GgufFile& file, const ModelConfig& config) {
  absl::StatusOr<ModelConfig> written = ModelConfigFromGguf(file);
  if (!written.ok()) return written.status();
  if (const absl::optional<Tensor> factors = RopeFactors(config)) {
    const absl::StatusOr<Tensor> stored = file.Read(kRopeFactors);
    if (!stored.ok()) return stored.status();
    if (stored->shape() != factors->shape() ||
        std::memcmp(stored->raw(), factors->raw(), static_cast<size_t>(factors->nbytes())) != 0)
      return absl::InvalidArgumentError("the GGUF file's rotary factors are not the model's; nothing was kept");
    written->rope_scaling = config.rope_scaling;  // several settings may have the same factors
  }
  if (GgufArchitectureOf(written->model_type)->name == absl::string_view(GgufArchitectureOf(config.model_type)->name))
    written->model_type = config.model_type;  // Mistral's without a window is Llama's
  if (Sizes(*written) == Sizes(config)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the GGUF file's configuration is not the model's; nothing was kept. It says ", Sizes(*written)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CausalLm>> OpenProvenGguf(const std::string& path, const ModelConfig& config,
                                                         const text::Tokenizer& tokenizer,
                                                         const text::ChatTemplate* chat, DType compute_dtype) {
  const absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open(path);
  if (!file.ok()) return file.status();
  if (absl::Status s = text::CheckGgufTokenizer(tokenizer, chat, (*file)->metadata()); !s.ok()) return s;
  if (absl::Status s = CheckConfig(**file, config); !s.ok()) return s;
  const GgufModelSource source(**file, config);
  std::unique_ptr<CausalLm> lm = BuildModel(config, compute_dtype);
  const absl::Status s = LoadWeights(*lm, source, DenseFactory(compute_dtype, false), false, nullptr);
  if (!s.ok()) return s;
  return lm;
}

}  // namespace lorikeet
