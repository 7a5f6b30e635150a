#include "apps/model/gguf_proof.h"

#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/text/gguf_export.h"
#include "nn/gguf_architecture.h"
#include "nn/gguf_model.h"
#include "nn/load.h"
#include "nn/rope_factors.h"
#include "tensor/io/gguf.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

// As JSON, without what the tokenizer says.
std::string Sizes(ModelConfig config) {
  config.bos_token_ids.clear();
  config.eos_token_ids.clear();
  return ModelConfigToJson(config, "");
}

// Tensors are the model's to the last bit, numbers as closely as f32 holds them.
absl::Status CheckRope(const GgufFile& file, const ModelConfig& config, const ModelConfig& written) {
  const RopeScaling &want = config.rope_scaling, &got = written.rope_scaling;
  const auto near = [](double x, double y) { return std::abs(x - y) <= 1e-6 * std::abs(x); };
  const auto number_of = [](const RopeScaling& s) { return s.kind == RopeScaling::Kind::kLongRope ? 1 : s.factor; };
  bool same = want.kind == got.kind && near(number_of(want), number_of(got)) &&
              near(tensor::RopeAttentionFactor(want), tensor::RopeAttentionFactor(got));
  if (want.kind == RopeScaling::Kind::kYarn || want.kind == RopeScaling::Kind::kLongRope)
    same = same && want.original_max_position == got.original_max_position && near(want.beta_fast, got.beta_fast) &&
           near(want.beta_slow, got.beta_slow);
  for (const RopeTensor& t : RopeTensors(config)) {
    const absl::StatusOr<Tensor> stored = file.Read(t.name);
    if (!stored.ok()) return stored.status();
    same = same && stored->dtype() == t.factors.dtype() && stored->shape() == t.factors.shape() &&
           std::memcmp(stored->raw(), t.factors.raw(), static_cast<size_t>(t.factors.nbytes())) == 0;
  }
  if (same) return absl::OkStatus();
  return absl::InvalidArgumentError("the GGUF file's rotary scaling is not the model's; nothing was kept");
}

absl::Status CheckConfig(const GgufFile& file, const ModelConfig& config) {
  absl::StatusOr<ModelConfig> written = ModelConfigFromGguf(file);
  if (!written.ok()) return written.status();
  if (absl::Status s = CheckRope(file, config, *written); !s.ok()) return s;
  written->rope_scaling = config.rope_scaling;  // several settings may have the same factors
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
