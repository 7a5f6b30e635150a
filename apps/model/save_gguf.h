// A model or an adapter as one GGUF file, which llama.cpp and Lorikeet open.
//
//   MergedSource merged(*model.lm, DType::kF32);
//   absl::StatusOr<std::unique_ptr<GgufWriter>> file =
//       WriteGguf("merged.gguf", config, tokenizer_metadata, merged, {.type = "Q8_0"});
//   ... prove what (*file)->unfinished_path() holds ...
//   absl::Status status = (*file)->Finish();
//
// Matrices are in `type`; norms, biases and rotary factors in f32; embedding and head in Q8_0 where the type has 4 bits
// (llama.cpp's own choice spends more on them too); rows that are not whole blocks in f16. Tensors are read and written
// one at a time. A tied head is not written: the source does not have it.
// Errors: InvalidArgument for a tensor that GGUF has no name for, those of the source and of GgufWriter.
// Source: convert_hf_to_gguf.py and convert_lora_to_gguf.py of https://github.com/ggml-org/llama.cpp.
#ifndef LORIKEET_APPS_MODEL_SAVE_GGUF_H_
#define LORIKEET_APPS_MODEL_SAVE_GGUF_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/text/gguf_spec.h"
#include "nn/causal_lm.h"
#include "nn/model_config.h"
#include "tensor/io/gguf_writer.h"
#include "tensor/io/tensor_source.h"

namespace lorikeet {

struct SaveGgufOptions {
  std::string type = "F16";  // F32, F16, BF16, Q8_0, Q4_0 or Q4_1
  std::string name = {};     // general.name; empty: none; nor is one written that would have llama.cpp expect Phi-3
};

// InvalidArgument unless `type` is one of those above.
absl::Status CheckGgufType(const std::string& type);

// All tensors written, nothing finished. `source`'s names are Hugging Face's.
absl::StatusOr<std::unique_ptr<GgufWriter>> WriteGguf(const std::string& path, const ModelConfig& config,
                                                      const text::GgufTokenizerMetadata& tokenizer,
                                                      const TensorSource& source, const SaveGgufOptions& options);

// The LoRA factors that the model carries, in f32, for use over a GGUF file of its base: NAME.lora_a [r, in] and
// NAME.lora_b [out, r]. Also unfinished. The file has one alpha and a reader scales by alpha / r; where modules differ
// in alpha / r, or it is alpha / sqrt(r), the difference is worked into B. InvalidArgument, with the advice to merge,
// for DoRA and for an adapted embedding, which such a file cannot hold; and as AdapterTensors.
absl::StatusOr<std::unique_ptr<GgufWriter>> WriteGgufAdapter(const std::string& path, CausalLm& model);

// OK if writing `path` loses nothing: there is no such file, or it is a GGUF file other than `model` (may be empty).
absl::Status CheckGgufTarget(const std::string& path, const std::string& model);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_SAVE_GGUF_H_
