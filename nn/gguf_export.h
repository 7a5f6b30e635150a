// A model's configuration and tensors in GGUF's terms, as llama.cpp expects them: the way back of nn/gguf_model.h.
//
//   GgufValues values;
//   AddModelValues(config, &values);                             // llama.block_count, llama.rope.freq_base, ...
//
// Llama 3's rotary scaling and Phi-3's are tensors (rope_factors.h); a linear one and YaRN's are values, as far as
// llama.cpp computes them alike (CheckGgufRope). Names and numbers of tensors: GgufName and ToGguf of
// nn/gguf_architecture.h. A tied head is not written: without output.weight llama.cpp takes the embedding. What a
// tokenizer adds is apps/text/gguf_export.h's business. Source: convert_hf_to_gguf.py of
// https://github.com/ggml-org/llama.cpp.
#ifndef LORIKEET_NN_GGUF_EXPORT_H_
#define LORIKEET_NN_GGUF_EXPORT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nn/model_config.h"
#include "tensor/io/gguf_writer.h"

namespace lorikeet {

// Whether llama.cpp scales rotary positions as this model does.
absl::Status CheckGgufRope(const ModelConfig& config);

// general.architecture and the values of that architecture; config.model_type must be one that GgufArchitectureOf
// knows.
void AddModelValues(const ModelConfig& config, GgufValues* values);

}  // namespace lorikeet

#endif  // LORIKEET_NN_GGUF_EXPORT_H_
