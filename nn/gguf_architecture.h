// The architectures that are read from GGUF files: their names there, the names of their tensors, and what the numbers
// in these mean.
//
//   const GgufArchitecture* gemma = FindGgufArchitecture("gemma3");            // or GgufArchitectureOf("gemma3_text")
//   HuggingFaceName(*gemma, "blk.3.ffn_norm.weight");    // "model.layers.3.pre_feedforward_layernorm.weight"
//   GgufName(*gemma, "model.layers.3.self_attn.q_proj.weight");                // "blk.3.attn_q.weight"
//   Tensor w = FromGguf(*gemma, config, "blk.3.ffn_norm.weight", stored);      // without the 1 that GGUF adds
//
//   general.architecture   model_type    attn_q, attn_k           norm weights   beyond Llama's tensors
//   llama                  llama         halves interleaved [1]   w
//   llama                  mistral       halves interleaved [1]   w              attention.sliding_window, if any [3]
//   qwen2                  qwen2         rows as they are         w
//   qwen3                  qwen3         rows as they are         w              attn_q_norm, attn_k_norm
//   gemma2                 gemma2        rows as they are         w + 1 [2]      four norms a layer
//   gemma3                 gemma3_text   rows as they are         w + 1 [2]      those, and attn_q_norm, attn_k_norm
//   phi3                   phi3          rows as they are         w              attn_qkv; ffn_up is gate and up [3]
//
// [1] gguf_rope.h. [2] Gemma's norms multiply by 1 + w; llama.cpp's converter stores that sum, in f32. Taking the 1
// off again and adding it in the model gives the stored number back to the last bit where it is 1/2 or more, and
// within 2^-25 elsewhere. [3] llama.cpp itself lets these two see everything; a file of Mistral's that has no window is
// a Llama's.
//
// Tensors pass through as handles where nothing changes. Threads: everything here may be called concurrently.
// Source: conversion/ in https://github.com/ggml-org/llama.cpp.
#ifndef LORIKEET_NN_GGUF_ARCHITECTURE_H_
#define LORIKEET_NN_GGUF_ARCHITECTURE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nn/model_config.h"
#include "tensor/tensor.h"

namespace lorikeet {

// GGUF's name of a part of a layer, and Hugging Face's.
using GgufNamePair = std::pair<absl::string_view, absl::string_view>;

struct GgufArchitecture {
  const char* name;                        // general.architecture
  const char* model_type;                  // config.json's
  absl::Span<const GgufNamePair> special;  // what is not named as in the other architectures
  bool interleaved_rope = false;
  bool norms_plus_one = false;
  bool window_unknown = false;  // to llama.cpp, which attends beyond the model's window
};

// nullptr: there is none of that name. Of several models that share a name, the first above.
const GgufArchitecture* FindGgufArchitecture(absl::string_view name);
const GgufArchitecture* GgufArchitectureOf(absl::string_view model_type);
// "gemma2, gemma3, llama, ... and qwen3"
std::string KnownGgufArchitectures();

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; names that are not known stay as they are.
std::string HuggingFaceName(const GgufArchitecture& architecture, absl::string_view gguf_name);
// The inverse; empty for a name that GGUF has no word for.
std::string GgufName(const GgufArchitecture& architecture, absl::string_view hugging_face_name);

// A tensor as Hugging Face has it out of one that GGUF holds under `gguf_name`, and the way back. w: a weight, a bias,
// or the B factor of an adapter on that weight, [out] or [out, anything].
Tensor FromGguf(const GgufArchitecture& architecture, const ModelConfig& config, absl::string_view gguf_name,
                const Tensor& w);
Tensor ToGguf(const GgufArchitecture& architecture, const ModelConfig& config, absl::string_view gguf_name,
              const Tensor& w);

}  // namespace lorikeet

#endif  // LORIKEET_NN_GGUF_ARCHITECTURE_H_
