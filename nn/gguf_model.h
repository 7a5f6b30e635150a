// A GGUF file as a model: its configuration, and its tensors under Hugging Face names.
//
//   absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open("SmolLM2.gguf");
//   absl::StatusOr<ModelConfig> config = ModelConfigFromGguf(**file);
//   GgufModelSource source(**file, *config);
//   source.Read("model.layers.0.self_attn.q_proj.weight");       // blk.0.attn_q.weight, its rows in their first order
//
// Architectures gemma2, gemma3, llama (Mistral's too), phi3, qwen2 and qwen3 (gguf_architecture.h says how they
// differ). A file without output.weight ties the head to the embedding. Rotary scaling: none, linear, YaRN, or by the
// tensors of rope_factors.h (Llama 3's and Phi-3's). What GGUF leaves out follows llama.cpp: every 6th layer of Gemma 3
// and every 2nd of Gemma 2 sees everything, the others a window, in Gemma 3 with frequencies of base 10000; Gemma's
// scores are divided by the square root of head_dim, in both 27B models of hidden_size / heads. Unlike llama.cpp, Phi-3
// and a Mistral whose file names it keep their window.
//
// Ownership: a source refers to its file. Threads: const methods may run concurrently. Errors: InvalidArgument with the
// key that is missing or wrong. The way back is nn/gguf_export.h.
#ifndef LORIKEET_NN_GGUF_MODEL_H_
#define LORIKEET_NN_GGUF_MODEL_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nn/gguf_architecture.h"
#include "nn/model_config.h"
#include "tensor/io/gguf.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

absl::StatusOr<ModelConfig> ModelConfigFromGguf(const GgufFile& file);

class GgufModelSource : public TensorSource {
 public:
  // `file` must outlive the source; config: ModelConfigFromGguf's, or one of the same architecture.
  GgufModelSource(const GgufFile& file, const ModelConfig& config);

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* Find(absl::string_view name) const override;
  absl::StatusOr<Tensor> Read(absl::string_view name) const override;
  const std::string& where() const override { return file_.where(); }

 private:
  const GgufFile& file_;
  ModelConfig config_;
  const GgufArchitecture& architecture_;
  std::vector<TensorInfo> tensors_;                   // under Hugging Face names
  std::vector<std::string> stored_names_;             // the file's, in the same order
  std::map<std::string, size_t, std::less<>> index_;  // name -> position
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_GGUF_MODEL_H_
