#include "apps/model/adapted_model.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "peft/adapter_config.h"
#include "peft/adapter_file.h"

namespace lorikeet {
namespace {

absl::StatusOr<std::string> BasePath(const std::string& model, const std::string& adapter) {
  if (!model.empty() || adapter.empty()) return model;
  const absl::StatusOr<AdapterConfig> config = ReadAdapterConfig(adapter, nullptr);
  if (!config.ok()) return config.status();
  const std::string& base = config->base_model_name_or_path;
  std::error_code ignored;
  if (base.empty() || std::filesystem::exists(base, ignored)) return base;
  return absl::NotFoundError(
      absl::StrCat(adapter, " was trained over ", base, ", which is not here; say where it is with --model"));
}

}  // namespace

absl::StatusOr<AdaptedModel> OpenAdaptedModel(const std::string& model, const std::string& adapter,
                                              const OpenOptions& options) {
  const absl::StatusOr<std::string> path = BasePath(model, adapter);
  if (!path.ok()) return path.status();
  absl::StatusOr<OpenedModel> base = OpenModel(*path, options);
  if (!base.ok()) return base.status();
  AdaptedModel m{.run = std::make_unique<AdapterRun>(), .base = *std::move(base), .adapter = adapter};
  m.run->weights_version = 1;  // the weights stay as they are, so DoRA's norms are computed once
  if (adapter.empty()) return m;
  const absl::StatusOr<LoadedAdapter> loaded = LoadAdapter(adapter, *m.base.lm, m.run.get());
  if (!loaded.ok()) return loaded.status();
  m.base.warnings.insert(m.base.warnings.end(), loaded->warnings.begin(), loaded->warnings.end());
  return m;
}

}  // namespace lorikeet
