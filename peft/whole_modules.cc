#include "peft/whole_modules.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nn/dense_map.h"
#include "nn/nearest_names.h"
#include "peft/disk_names.h"
#include "peft/trainable_tokens_map.h"
#include "tensor/dtype.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {
namespace {

constexpr absl::string_view kBias = ".bias";

// "a.b.c": "a", "a.b", "a.b.c".
std::vector<absl::string_view> ModulesAround(absl::string_view path) {
  std::vector<absl::string_view> modules;
  for (size_t dot = path.find('.'); dot != path.npos; dot = path.find('.', dot + 1)) {
    modules.push_back(path.substr(0, dot));
  }
  modules.push_back(path);
  return modules;
}

bool Selects(const std::string& name, absl::string_view path) {
  const std::vector<absl::string_view> modules = ModulesAround(path);
  return std::any_of(modules.begin(), modules.end(), [&](absl::string_view m) { return absl::EndsWith(m, name); });
}

std::string Parent(absl::string_view path) { return std::string(path.substr(0, path.rfind('.'))); }

class Collect : public Visitor {
 public:
  Collect(const AdapterConfig& config, const std::vector<std::string>& adapted)
      : config_(config), adapted_(adapted.begin(), adapted.end()) {}

  std::vector<WholeModule> found;
  std::set<std::string> paths;  // of every module
  bool tied = true;             // no slot is the head's own: it is the first embedding
  const MapSlot* embedding = nullptr;
  std::vector<std::pair<std::string, MapSlot*>> tables;  // embeddings, and the head

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override {
    Note(Parent(name));
    const bool bias = absl::EndsWith(name, kBias);
    const bool of_adapted = bias && adapted_.count(Parent(name)) > 0;
    const bool as_bias = bias && (config_.bias == "all" || (config_.bias == "lora_only" && of_adapted));
    if (!as_bias && !IsSavedWhole(Parent(name), config_)) return;
    const std::string disk_name = of_adapted ? absl::StrCat(Parent(name), ".base_layer.bias") : std::string(name);
    found.push_back(
        {.disk_name = absl::StrCat(kDiskPrefix, disk_name), .tied_name = "", .shape = p.value.shape(), .leaf = &p});
  }
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    Note(name);
    tied &= !absl::EndsWith(name, kHead);
    if (slot.embedding && embedding == nullptr) embedding = &slot;
    if (slot.embedding || absl::EndsWith(name, kHead)) tables.emplace_back(name, &slot);
    if (!IsSavedWhole(name, config_)) return;
    found.push_back({.disk_name = absl::StrCat(kDiskPrefix, name, ".weight"),
                     .tied_name = "",
                     .shape = slot.stored_shape(),
                     .slot = &slot});
  }

 private:
  void Note(absl::string_view path) {
    for (absl::string_view module : ModulesAround(path)) paths.insert(std::string(module));
  }
  const AdapterConfig& config_;
  const std::set<std::string> adapted_;
};

absl::Status CheckNames(const AdapterConfig& config, const Collect& model) {
  for (const std::string& name : config.modules_to_save) {
    const bool known = std::any_of(model.paths.begin(), model.paths.end(),
                                   [&](const std::string& p) { return absl::EndsWith(p, name); });
    if (known) continue;
    if (model.tied && name == kHead) {
      return absl::InvalidArgumentError(
          absl::StrCat("modules_to_save: \"", name,
                       "\" shares its weight with the embedding in this model and would be untied; name "
                       "the embedding, with ensure_weight_tying true"));
    }
    return absl::InvalidArgumentError(absl::StrCat("modules_to_save: \"", name, "\" matches no module of the model",
                                                   DidYouMean(name, {model.paths.begin(), model.paths.end()})));
  }
  return absl::OkStatus();
}

// The table that trainable_token_indices calls `name`; nullptr: there is none.
const std::pair<std::string, MapSlot*>* TableOf(const std::string& name, const Collect& model) {
  for (const auto& table : model.tables) {
    if (name.empty() || table.first == name || absl::EndsWith(table.first, "." + name)) return &table;
  }
  return nullptr;
}

absl::Status CheckTable(const std::pair<std::string, MapSlot*>& table, const std::vector<int64_t>& tokens,
                        const AdapterConfig& config, const std::vector<std::string>& adapted) {
  const auto& [path, slot] = table;
  const std::string field = "trainable_token_indices: ";
  if (IsSavedWhole(path, config))
    return absl::InvalidArgumentError(absl::StrCat(field, path, " trains whole by modules_to_save"));
  if (std::count(adapted.begin(), adapted.end(), path) > 0)
    return absl::InvalidArgumentError(absl::StrCat(field, path, " carries an adapter by target_modules"));
  int64_t most = 0;
  for (const int64_t token : tokens) most = std::max(most, token);
  if (most >= slot->out_features) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, "token ", most, " is outside the vocabulary of ", slot->out_features, " that ", path,
                     " has; a model whose vocabulary was enlarged has to be saved, and that one taken as the base"));
  }
  const std::vector<int32_t> ids(tokens.begin(), tokens.end());
  const Tensor at = Tensor::From<int32_t>(ids, {static_cast<int64_t>(ids.size())}).To(slot->map->device());
  if (tensor::AllFinite(slot->map->Rows(at, DType::kF32))) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, "the rows that ", path, " has hold NaN or infinity"));
}

// A tied head under its own name, beside an embedding of which the same rows train: it is that.
bool IsTiedTwin(const std::string& name, const std::vector<int64_t>& tokens, const AdapterConfig& config,
                const Collect& model) {
  if (!model.tied || name != kHead) return false;
  for (const auto& [other, theirs] : config.trainable_token_indices) {
    const auto* table = TableOf(other, model);
    if (table != nullptr && table->second == model.embedding && theirs == tokens) return true;
  }
  return false;
}

// The rows of trainable_token_indices, behind what is found already.
absl::Status FindTokens(const AdapterConfig& config, const std::vector<std::string>& adapted, Collect& model) {
  std::set<const MapSlot*> seen;
  for (const auto& [name, tokens] : config.trainable_token_indices) {
    if (IsTiedTwin(name, tokens, config, model)) continue;
    const std::pair<std::string, MapSlot*>* table = TableOf(name, model);
    if (table == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "trainable_token_indices: \"", name, "\" is neither an embedding nor a head of its own in this model",
          model.tied && name == kHead
              ? "; it is the embedding, whose rows train in both places: name that, with the same tokens or alone"
              : ""));
    }
    if (absl::Status s = CheckTable(*table, tokens, config, adapted); !s.ok()) return s;
    const auto& [path, slot] = *table;
    if (!seen.insert(slot).second)
      return absl::InvalidArgumentError(absl::StrCat("trainable_token_indices names ", path, " twice"));
    model.found.push_back({.disk_name = absl::StrCat(kDiskPrefix, path, ".token_adapter.trainable_tokens_delta"),
                           .tied_name = "",
                           .shape = {static_cast<int64_t>(tokens.size()), slot->in_features},
                           .slot = slot,
                           .tokens = tokens});
  }
  return absl::OkStatus();
}

}  // namespace

bool IsSavedWhole(absl::string_view path, const AdapterConfig& config) {
  return std::any_of(config.modules_to_save.begin(), config.modules_to_save.end(),
                     [&](const std::string& name) { return Selects(name, path); });
}

absl::StatusOr<std::vector<WholeModule>> FindWholeModules(Module& model, const AdapterConfig& config,
                                                          const std::vector<std::string>& adapted) {
  Collect collect(config, adapted);
  model.Visit(collect);
  if (absl::Status s = CheckNames(config, collect); !s.ok()) return s;
  for (WholeModule& m : collect.found) {
    if (!collect.tied || m.slot == nullptr || m.slot != collect.embedding) continue;
    if (!config.ensure_weight_tying) {
      return absl::InvalidArgumentError(absl::StrCat(
          "modules_to_save: ", m.disk_name.substr(kDiskPrefix.size()),
          " is the output head's weight too in this model, "
          "and training one alone would untie them; set ensure_weight_tying, to train both as the one that they are"));
    }
    m.tied_name = absl::StrCat(kDiskPrefix, kHead, ".weight");
  }
  if (absl::Status s = FindTokens(config, adapted, collect); !s.ok()) return s;
  return std::move(collect.found);
}

void TrainWhole(const WholeModule& module, absl::optional<Tensor> value) {
  if (module.leaf != nullptr) {
    if (value) module.leaf->value = value->Cast(module.leaf->value.dtype()).To(module.leaf->value.device());
    module.leaf->name = module.disk_name;
    module.leaf->trainable = true;
    return;
  }
  if (!module.tokens.empty()) {
    module.slot->map = std::make_unique<TrainableTokensMap>(std::move(module.slot->map), module.tokens,
                                                            module.disk_name, value.value_or(Tensor()));
    return;
  }
  LinearMap& base = *module.slot->map;
  const DType dtype = base.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const Tensor weight = (value ? module.slot->Turned(*value).To(base.device()) : base.Dense()).Cast(dtype);
  // Its own memory: an optimizer writes there, and the base's may be a file's or another's.
  module.slot->map = std::make_unique<DenseMap>(
      Parameter{.name = module.disk_name, .value = value ? weight : weight.Clone(), .trainable = true});
}

std::vector<std::string> DiskNames(const WholeModule& module) {
  if (module.tied_name.empty()) return {module.disk_name};
  return {module.disk_name, module.tied_name};
}

}  // namespace lorikeet
