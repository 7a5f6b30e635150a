// Targets: which of a model's linear maps a configuration adapts, by PEFT's rules.
//
//   absl::StatusOr<Targets> t = SelectTargets(places, config);
//   t->modules                         // {"model.layers.0.self_attn.q_proj", ...}, in the model's order
//
// A path is selected when
//   - exclude_modules does not match it: a list entry equals the path or its end after a dot; a string is a regular
//     expression for the whole path;
//   - modules_to_save does not select it (peft/whole_modules.h);
//   - target_modules matches it, likewise; "all-linear" means every map but the output head ("lm_head") and embeddings;
//   - its layer number is in layers_to_transform, if that is given. The number is the first `.N.` that follows a name
//     (one of layers_pattern, if given). A list entry that is a whole path needs no layer number.
// Errors (InvalidArgument): nothing is left; a bad expression; an embedding is asked for that is the output head too,
// or under use_dora. A list entry that matches nothing is reported in `unmatched`, for the caller to judge. Source:
// PEFT's check_target_module_exists.
#ifndef LORIKEET_PEFT_TARGETS_H_
#define LORIKEET_PEFT_TARGETS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "peft/adapter_config.h"

namespace lorikeet {

// A linear map's path in the model.
struct Place {
  std::string path;
  bool embedding = false;
};

struct Targets {
  std::vector<std::string> modules;
  std::vector<std::string> unmatched;  // entries of target_modules that match no path
};

absl::StatusOr<Targets> SelectTargets(const std::vector<Place>& places, const AdapterConfig& config);

// A shorter list that selects the same modules: the ends of their paths ("q_proj") if those select nothing else.
std::vector<std::string> Condensed(const std::vector<std::string>& modules, const std::vector<Place>& places);

// The error for entries that match nothing: names the nearest paths and path ends.
absl::Status UnmatchedError(const std::vector<std::string>& unmatched, const std::vector<Place>& places);

// r and lora_alpha of the module at `path`: those of the first key of rank_pattern or alpha_pattern for which
// (.*\.)?(key) matches the whole path, else the common ones.
absl::StatusOr<int64_t> RankFor(absl::string_view path, const AdapterConfig& config);
absl::StatusOr<double> AlphaFor(absl::string_view path, const AdapterConfig& config);

// The keys of both patterns that match none of `modules`: PEFT passes over them, but a user may have mistyped one.
absl::StatusOr<std::vector<std::string>> KeysWithoutMatch(const AdapterConfig& config,
                                                          const std::vector<std::string>& modules);

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_TARGETS_H_
