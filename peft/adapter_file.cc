#include "peft/adapter_file.h"

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nn/linear_map.h"
#include "peft/adapter_map.h"
#include "peft/adapter_tensors.h"
#include "peft/targets.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file.h"
#include "tensor/io/file_system.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/safetensors_writer.h"

namespace lorikeet {
namespace {

constexpr char kConfigName[] = "adapter_config.json";
constexpr char kTensorsName[] = "adapter_model.safetensors";
constexpr uint64_t kMaxConfigBytes = 4 << 20;

std::string PathOf(const std::string& directory, const char* name) {
  return (std::filesystem::path(directory) / name).string();
}

class CollectPlaces : public Visitor {
 public:
  std::vector<Place> places;
  std::vector<std::string> adapted;
  bool fan_in_fan_out = false;

 protected:
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    places.push_back({std::string(name), slot.embedding});
    if (dynamic_cast<const AdapterMap*>(slot.map.get()) == nullptr) return;
    adapted.push_back(std::string(name));
    fan_in_fan_out |= slot.transposed;
  }
};

absl::Status MakeDirectory(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!error) return absl::OkStatus();
  return ErrnoStatus(error.value(), "make directory", directory);
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> OpenTensors(const std::string& directory) {
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(PathOf(directory, kTensorsName));
  std::error_code ignored;
  const std::string pickle = PathOf(directory, "adapter_model.bin");
  if (!absl::IsNotFound(file.status()) || !std::filesystem::exists(pickle, ignored)) return file;
  return absl::InvalidArgumentError(
      absl::StrCat(pickle,
                   " is a Python pickle, which may run any program when it is read; load it with PEFT and save it "
                   "again (save_pretrained writes ",
                   kTensorsName, ")"));
}

}  // namespace

absl::Status SaveAdapter(const std::string& directory, Module& model, const AdapterConfig& config) {
  const absl::StatusOr<std::vector<NamedTensor>> tensors = AdapterTensors(model);
  if (!tensors.ok()) return tensors.status();
  CollectPlaces collect;
  model.Visit(collect);
  const std::string json =
      AdapterConfigToJson(ConfigOnDisk(config), Condensed(collect.adapted, collect.places), collect.fan_in_fan_out);
  if (absl::Status s = MakeDirectory(directory); !s.ok()) return s;
  if (absl::Status s = WriteSafetensors(PathOf(directory, kTensorsName), *tensors, {{"format", "pt"}}); !s.ok())
    return s;
  return WriteFileAtomically(PathOf(directory, kConfigName), json);
}

absl::StatusOr<AdapterConfig> ReadAdapterConfig(const std::string& directory, std::vector<std::string>* warnings) {
  const std::string path = PathOf(directory, kConfigName);
  const absl::StatusOr<std::string> text = ReadFileToString(path, kMaxConfigBytes);
  if (!text.ok()) return text.status();
  return ParseAdapterConfig(*text, path, warnings);
}

absl::StatusOr<LoadedAdapter> LoadAdapter(const std::string& directory, Module& model, const AdapterRun* run) {
  LoadedAdapter loaded;
  absl::StatusOr<AdapterConfig> config = ReadAdapterConfig(directory, &loaded.warnings);
  if (!config.ok()) return config.status();
  const absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = OpenTensors(directory);
  if (!file.ok()) return file.status();
  absl::StatusOr<AttachedAdapter> attached = AttachAdapter(model, *config, **file, run);
  if (!attached.ok()) return attached.status();
  loaded.config = *std::move(config);
  loaded.modules = std::move(attached->modules);
  loaded.warnings.insert(loaded.warnings.end(), attached->warnings.begin(), attached->warnings.end());
  return loaded;
}

}  // namespace lorikeet
