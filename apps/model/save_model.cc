#include "apps/model/save_model.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tensor/io/atomic_file.h"
#include "tensor/io/safetensors_header.h"
#include "tensor/io/safetensors_writer.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using Json = nlohmann::ordered_json;

const char* TorchName(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
    default:
      return "float32";
  }
}

struct Shard {
  std::vector<SafetensorsSpec> specs;
  int64_t bytes = 0;
};

// The source's shards; or its order, cut where the next tensor would not fit.
absl::StatusOr<std::vector<Shard>> PlanShards(const TensorSource& weights, int64_t max_bytes) {
  std::vector<TensorInfo> tensors = weights.tensors();
  const auto by_shard = [](const TensorInfo& a, const TensorInfo& b) { return a.shard < b.shard; };
  std::stable_sort(tensors.begin(), tensors.end(), by_shard);
  const bool sharded = !tensors.empty() && tensors.front().shard < tensors.back().shard;
  std::vector<Shard> shards(1);
  int shard = tensors.empty() ? 0 : tensors.front().shard;
  for (const TensorInfo& info : tensors) {
    DType dtype;
    if (!SafetensorsDType(info.stored_type, &dtype))
      return absl::InvalidArgumentError(
          absl::StrCat(weights.where(), ": ", info.name, " has type ", info.stored_type, ", which cannot be written"));
    const bool full = shards.back().bytes > 0 && shards.back().bytes + info.bytes > max_bytes;
    if (sharded ? info.shard != shard : full) shards.emplace_back();
    shard = info.shard;
    shards.back().specs.push_back({info.name, dtype, info.shape});
    shards.back().bytes += info.bytes;
  }
  return shards;
}

absl::Status WriteShard(const std::string& path, const Shard& shard, const TensorSource& weights) {
  absl::StatusOr<std::unique_ptr<SafetensorsWriter>> writer =
      SafetensorsWriter::Create(path, shard.specs, {{"format", "pt"}});
  if (!writer.ok()) return writer.status();
  for (const SafetensorsSpec& spec : (*writer)->order()) {
    const absl::StatusOr<Tensor> tensor = weights.Read(spec.name);
    if (!tensor.ok()) return tensor.status();
    if (absl::Status s = (*writer)->Write(spec.name, *tensor); !s.ok()) return s;
  }
  return (*writer)->Finish();
}

std::string ShardName(size_t i, size_t n) {
  return n == 1 ? "model.safetensors" : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, n);
}

absl::Status WriteWeights(const std::string& directory, const TensorSource& weights, int64_t max_bytes) {
  const absl::StatusOr<std::vector<Shard>> shards = PlanShards(weights, max_bytes);
  if (!shards.ok()) return shards.status();
  std::map<std::string, std::string> weight_map;
  int64_t total = 0;
  for (size_t i = 0; i < shards->size(); ++i) {
    const Shard& shard = (*shards)[i];
    const std::string name = ShardName(i, shards->size());
    if (absl::Status s = WriteShard(absl::StrCat(directory, "/", name), shard, weights); !s.ok()) return s;
    for (const SafetensorsSpec& spec : shard.specs) weight_map[spec.name] = name;
    total += shard.bytes;
  }
  if (shards->size() == 1) return absl::OkStatus();
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  return WriteFileAtomically(directory + "/model.safetensors.index.json", index.dump(2) + "\n");
}

std::string GenerationConfig(const ModelConfig& config) {
  Json j = {{"_from_model_config", true}};
  const auto set = [&](const char* key, const std::vector<int32_t>& ids) {
    if (ids.size() == 1) j[key] = ids[0];
    if (ids.size() > 1) j[key] = ids;
  };
  set("bos_token_id", config.bos_token_ids);
  set("eos_token_id", config.eos_token_ids);
  return j.dump(2) + "\n";
}

std::string ConfigText(const ModelConfig& config, const SaveModelOptions& options) {
  if (!options.config_json.empty()) return options.config_json;
  std::string text = ModelConfigToJson(config, TorchName(options.dtype));
  if (options.quantization_config.empty()) return text;
  Json j = Json::parse(text);
  j["quantization_config"] = Json::parse(options.quantization_config);
  return j.dump(2) + "\n";
}

}  // namespace

absl::Status SaveModel(const std::string& directory, const ModelConfig& config, const text::TokenizerFiles& tokenizer,
                       const TensorSource& weights, const SaveModelOptions& options) {
  if (absl::Status s = WriteWeights(directory, weights, options.max_shard_bytes); !s.ok()) return s;
  const std::pair<absl::string_view, std::string> files[] = {
      {"tokenizer.json", tokenizer.tokenizer_json},
      {"tokenizer_config.json", tokenizer.tokenizer_config_json},
      {"special_tokens_map.json", tokenizer.special_tokens_map_json},
      {"chat_template.jinja", tokenizer.chat_template_jinja},
      {"generation_config.json",
       tokenizer.generation_config_json.empty() ? GenerationConfig(config) : tokenizer.generation_config_json},
      {"config.json", ConfigText(config, options)},
  };
  for (const auto& [name, text] : files) {
    if (text.empty()) continue;
    if (absl::Status s = WriteFileAtomically(absl::StrCat(directory, "/", name), text); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
