// ModelConfig: the sizes and switches of a decoder-only transformer, from a Hugging Face config.json or a GGUF header.
//
//   absl::StatusOr<ModelConfig> config = ParseModelConfig(json_text, "model/config.json");
//
// Every number is checked against what the format allows and against the others (heads divide evenly, sizes positive
// and bounded), so that a model may be built from it without further checks. Unknown architectures are an error that
// lists the known ones. What each family spells in its own way or leaves to a default is in model_family.cc.
#ifndef LORIKEET_NN_MODEL_CONFIG_H_
#define LORIKEET_NN_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/ops/rope_scaling.h"

namespace lorikeet {

struct ModelConfig {
  std::string model_type = "llama";  // config.json's
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 2048;
  float rms_norm_eps = 1e-6f;  // GPT-2's layer_norm_epsilon
  double rope_theta = 10000;
  RopeScaling rope_scaling;          // tensor/ops/rope_scaling.h
  double rope_local_theta = 0;       // > 0: rope_theta, unscaled, of the layers with a window (Gemma 3)
  double partial_rotary_factor = 1;  // of a head's dimensions, the first ones (Phi-3); GPT-2 rotates none
  bool tie_word_embeddings = false;
  bool qkv_bias = false;  // Qwen2; Llama's attention_bias
  bool o_bias = false;    // Llama's attention_bias
  bool mlp_bias = false;
  bool qk_norm = false;              // RMSNorm over every head of q and k (Qwen3, Gemma 3)
  double query_pre_attn_scalar = 0;  // scores are divided by its square root; 0: by head_dim's (Gemma)
  float attn_softcap = 0;            // > 0: scores become softcap * tanh(score / softcap) (Gemma 2)
  float final_softcap = 0;           // the same for logits
  int64_t sliding_window = 0;        // > 0: a query sees so many keys, itself included
  std::vector<bool> sliding_layers;  // which layers have the window; empty: all
  std::vector<int32_t> bos_token_ids;
  std::vector<int32_t> eos_token_ids;
  int64_t pad_token_id = -1;  // -1: none. Unused here, but transformers has a default of its own for a file without it

  // The window of a layer, 0 for none.
  int64_t WindowOf(int64_t layer) const {
    return sliding_layers.empty() || sliding_layers[static_cast<size_t>(layer)] ? sliding_window : 0;
  }
  // How many of a head's dimensions rotary positions turn.
  int64_t rotary_dim() const { return static_cast<int64_t>(static_cast<double>(head_dim) * partial_rotary_factor); }
};

// `where` names the file in messages.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json, absl::string_view where);

// A config.json that transformers reads; `torch_dtype` is "float32", "bfloat16" or "float16".
std::string ModelConfigToJson(const ModelConfig& config, absl::string_view torch_dtype);

// The checks that both sources share.
absl::Status ValidateModelConfig(const ModelConfig& config, absl::string_view where);

}  // namespace lorikeet

#endif  // LORIKEET_NN_MODEL_CONFIG_H_
