// Reads a GGUF file that was just written as a stranger would, and gives its model to whoever wants to compare logits.
//
//   absl::StatusOr<std::unique_ptr<CausalLm>> lm =
//       OpenProvenGguf(writer->unfinished_path(), config, tokenizer, &chat, DType::kF32);
//
// The tokenizer must be the training tokenizer (apps/text/gguf_export.h says what is compared) and the configuration
// the model's; llama3's rotary factors do not say what they were made from, so there the tensor is compared instead.
// InvalidArgument with the first difference. Ownership: the caller; the file is closed again.
#ifndef LORIKEET_APPS_MODEL_GGUF_PROOF_H_
#define LORIKEET_APPS_MODEL_GGUF_PROOF_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "apps/text/chat_template.h"
#include "apps/text/tokenizer.h"
#include "nn/causal_lm.h"
#include "nn/model_config.h"
#include "tensor/dtype.h"

namespace lorikeet {

// `chat` may be null: conversations are then not compared.
absl::StatusOr<std::unique_ptr<CausalLm>> OpenProvenGguf(const std::string& path, const ModelConfig& config,
                                                         const text::Tokenizer& tokenizer,
                                                         const text::ChatTemplate* chat, DType compute_dtype);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_GGUF_PROOF_H_
