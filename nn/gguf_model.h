// A GGUF file as a model: its configuration, and its tensors under Hugging Face names.
//
//   absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open("SmolLM2.gguf");
//   absl::StatusOr<ModelConfig> config = ModelConfigFromGguf(**file);
//   GgufModelSource source(**file, *config);
//   source.Read("model.layers.0.self_attn.q_proj.weight");       // blk.0.attn_q.weight, its rows in their first order
//
// Architectures llama and qwen2. A file without output.weight ties the head to the embedding. Rotary scaling: none or
// linear; the factors of rope_freqs.weight (Llama 3.1) do not say what they were made from, so a file with them is
// refused. Errors: InvalidArgument with the key that is missing or wrong. The way back is nn/gguf_export.h.
#ifndef LORIKEET_NN_GGUF_MODEL_H_
#define LORIKEET_NN_GGUF_MODEL_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nn/model_config.h"
#include "tensor/io/gguf.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

absl::StatusOr<ModelConfig> ModelConfigFromGguf(const GgufFile& file);

class GgufModelSource : public TensorSource {
 public:
  // `file` must outlive the source.
  GgufModelSource(const GgufFile& file, const ModelConfig& config);

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* Find(absl::string_view name) const override;
  absl::StatusOr<Tensor> Read(absl::string_view name) const override;
  const std::string& where() const override { return file_.where(); }

 private:
  const GgufFile& file_;
  ModelConfig config_;
  std::vector<TensorInfo> tensors_;                   // under Hugging Face names
  std::map<std::string, size_t, std::less<>> index_;  // name -> position here and in the file
};

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; names that are not known stay as they are.
std::string HuggingFaceName(absl::string_view gguf_name);
// The inverse; empty for a name that GGUF has no word for.
std::string GgufName(absl::string_view hugging_face_name);

}  // namespace lorikeet

#endif  // LORIKEET_NN_GGUF_MODEL_H_
