// ModelConfig: the sizes and switches of a decoder-only transformer, from a Hugging Face config.json or a GGUF header.
//
//   absl::StatusOr<ModelConfig> config = ParseModelConfig(json_text, "model/config.json");
//
// Every number is checked against what the format allows and against the others (heads divide evenly, sizes positive
// and bounded), so that a model may be built from it without further checks. Unknown architectures are an error that
// lists the known ones.
#ifndef LORIKEET_NN_MODEL_CONFIG_H_
#define LORIKEET_NN_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/ops/rope.h"

namespace lorikeet {

struct ModelConfig {
  std::string model_type = "llama";  // "llama" or "qwen2"; config.json's model_type
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 2048;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 10000;
  RopeScaling rope_scaling;  // tensor/ops/rope.h
  bool tie_word_embeddings = false;
  bool qkv_bias = false;  // Qwen2; Llama's attention_bias
  bool o_bias = false;    // Llama's attention_bias
  bool mlp_bias = false;
  std::vector<int32_t> bos_token_ids;
  std::vector<int32_t> eos_token_ids;
};

// `where` names the file in messages.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json, absl::string_view where);

// A config.json that transformers reads; `torch_dtype` is "float32", "bfloat16" or "float16".
std::string ModelConfigToJson(const ModelConfig& config, absl::string_view torch_dtype);

// The checks that both sources share.
absl::Status ValidateModelConfig(const ModelConfig& config, absl::string_view where);

}  // namespace lorikeet

#endif  // LORIKEET_NN_MODEL_CONFIG_H_
