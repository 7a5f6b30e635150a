// AdapterConfig: what to adapt and how, and its file form, PEFT's adapter_config.json.
//
//   AdapterConfig config;                               // r 16, alpha 32, all-linear
//   config.target.list = {"q_proj", "v_proj"};
//   absl::StatusOr<AdapterConfig> read = ParseAdapterConfig(text, "adapter_config.json", &warnings);
//
// Files are written as PEFT writes them: every field, keys sorted, indent 2, inference_mode true; but the keys of a
// pattern keep their order, since the first that matches wins. Reading: a field that changes the meaning and is not
// supported here (layer_replication, lora_bias, ...) is an error when it is set, and so is an initialisation that
// changed the base in a way that cannot be repeated; an unknown field is a warning. Errors: InvalidArgument with the
// file and the field. Source: PEFT 0.21's LoraConfig.
#ifndef LORIKEET_PEFT_ADAPTER_CONFIG_H_
#define LORIKEET_PEFT_ADAPTER_CONFIG_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace lorikeet {

// Names of modules: a list of names or dotted suffixes, or one regular expression that must match the whole path.
// Neither: nothing.
struct NamePattern {
  std::vector<std::string> list;
  absl::optional<std::string> regex;

  bool empty() const { return list.empty() && !regex; }
};

struct AdapterConfig {
  int64_t r = 16;
  double lora_alpha = 32;
  double lora_dropout = 0;
  bool use_rslora = false;
  bool use_dora = false;
  bool all_linear = true;  // every linear layer but the output head; `target` is then ignored
  NamePattern target;
  NamePattern exclude;
  std::vector<int64_t> layers_to_transform;  // empty: all
  std::vector<std::string> layers_pattern;   // what a numbered list of layers is called; empty: anything
  // Regular expressions for the end of a module's path, and what replaces r and lora_alpha there; the first match wins.
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::string init_lora_weights = "true";    // peft/lora_init.h has the names; "false" and "eva" in files only
  std::string bias = "none";                 // which biases train: none, all, or lora_only, those of adapted layers
  std::vector<std::string> modules_to_save;  // modules that train whole, by the ends of their paths
  bool ensure_weight_tying = false;          // modules_to_save may name an embedding that is the head too
  // Tokens whose rows train, of an embedding or a head by the end of its path; an empty name is the model's embedding.
  std::vector<std::pair<std::string, std::vector<int64_t>>> trainable_token_indices;
  std::string base_model_name_or_path;

  // s: alpha / r, or alpha / sqrt(r).
  double Scaling(int64_t rank, double alpha) const;
};

// `warnings` (may be null) receives one line for each field that is ignored.
absl::StatusOr<AdapterConfig> ParseAdapterConfig(absl::string_view json, absl::string_view where,
                                                 std::vector<std::string>* warnings);

// One field alone, as it would stand in a file: an object such as {"q_proj": 8}, or [49152, 49153]; an empty text is
// none. `where`: what the text is, a flag say.
absl::Status ParseRankPattern(absl::string_view json, absl::string_view where, AdapterConfig* config);
absl::Status ParseAlphaPattern(absl::string_view json, absl::string_view where, AdapterConfig* config);
absl::Status ParseTrainableTokenIndices(absl::string_view json, absl::string_view where, AdapterConfig* config);

// `adapted` names the modules that carry an adapter; it is written as target_modules where all_linear stood.
// `fan_in_fan_out`: the adapted weights lie transposed in the base's checkpoint (GPT-2). PEFT wants to know; A and B do
// not depend on it.
std::string AdapterConfigToJson(const AdapterConfig& config, const std::vector<std::string>& adapted,
                                bool fan_in_fan_out = false);

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_ADAPTER_CONFIG_H_
