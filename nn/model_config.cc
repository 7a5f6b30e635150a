#include "nn/model_config.h"

#include <tuple>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "nn/json_fields.h"
#include "nn/model_family.h"
#include "nn/rope_config.h"
#include "tensor/check.h"

namespace lorikeet {
namespace {

using Json = nlohmann::json;

absl::Status CheckRange(absl::string_view where, const char* name, int64_t value, int64_t max) {
  if (value >= 1 && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", name, " is ", value, ", expected 1 to ", max));
}

// hidden_size / num_attention_heads, where the file does not say.
absl::Status DefaultHeadDim(absl::string_view where, ModelConfig* c) {
  if (c->head_dim != 0) return absl::OkStatus();
  if (absl::Status s = CheckRange(where, "num_attention_heads", c->num_heads, 1024); !s.ok()) return s;
  if (c->hidden_size % c->num_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": hidden_size ", c->hidden_size, " is not divisible by ",
                                                   c->num_heads, " attention heads, and there is no head_dim"));
  }
  c->head_dim = c->hidden_size / c->num_heads;
  return absl::OkStatus();
}

// Windows, and what is done to scores and logits.
absl::Status CheckAttention(const ModelConfig& c, absl::string_view where) {
  constexpr int64_t kMaxWindow = int64_t{1} << 28;
  if (c.sliding_window < 0 || c.sliding_window > kMaxWindow) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": sliding_window is ", c.sliding_window, ", expected 0 (none) to ", kMaxWindow));
  }
  if (!c.sliding_layers.empty() && static_cast<int64_t>(c.sliding_layers.size()) != c.num_layers) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": layer_types has ", c.sliding_layers.size(), " entries for ", c.num_layers, " layers"));
  }
  const std::tuple<const char*, double> numbers[] = {{"query_pre_attn_scalar", c.query_pre_attn_scalar},
                                                     {"attn_logit_softcapping", c.attn_softcap},
                                                     {"final_logit_softcapping", c.final_softcap}};
  for (const auto& [name, value] : numbers) {
    if (!(value >= 0 && value <= 1e6)) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": ", name, " is ", value, ", expected above 0, to 1e6"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateModelConfig(const ModelConfig& c, absl::string_view where) {
  const std::tuple<const char*, int64_t, int64_t> ranges[] = {
      {"vocab_size", c.vocab_size, int64_t{1} << 24},
      {"hidden_size", c.hidden_size, int64_t{1} << 20},
      {"intermediate_size", c.intermediate_size, int64_t{1} << 22},
      {"num_hidden_layers", c.num_layers, 1024},
      {"num_attention_heads", c.num_heads, 1024},
      {"num_key_value_heads", c.num_kv_heads, 1024},
      {"head_dim", c.head_dim, 1024},
      {"max_position_embeddings", c.max_position_embeddings, int64_t{1} << 28},
  };
  for (const auto& [name, value, max] : ranges) {
    if (absl::Status s = CheckRange(where, name, value, max); !s.ok()) return s;
  }
  if (c.num_heads % c.num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", c.num_heads, " attention heads do not share ",
                                                   c.num_kv_heads, " key-value heads evenly"));
  }
  if (!(c.partial_rotary_factor >= 0 && c.partial_rotary_factor <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": partial_rotary_factor is ", c.partial_rotary_factor, ", expected 0 to 1"));
  }
  if (c.rotary_dim() % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", c.rotary_dim(), " dimensions of a head_dim of ",
                                                   c.head_dim,
                                                   " would be rotated, but rotary positions need an even number"));
  }
  if (absl::Status s = CheckAttention(c, where); !s.ok()) return s;
  if (!(c.rms_norm_eps > 0 && c.rms_norm_eps < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": rms_norm_eps is ", c.rms_norm_eps, ", expected between 0 and 1"));
  }
  if (!(c.rope_theta > 1 && c.rope_theta < 1e15)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": rope_theta is ", c.rope_theta, ", expected between 1 and 1e15"));
  }
  if (c.rope_local_theta != 0 && !(c.rope_local_theta > 1 && c.rope_local_theta < 1e15)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": rope_local_base_freq is ", c.rope_local_theta, ", expected between 1 and 1e15"));
  }
  return CheckRopeScaling(c, where);
}

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view text, absl::string_view where) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(where, ": not a JSON object; is the file damaged?"));
  ModelConfig c;
  Fields f(json, where);
  f.String("model_type", &c.model_type);
  const ModelFamily* family = FindModelFamily(c.model_type);
  if (family == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": model_type \"", c.model_type, "\" is not supported; known are ", KnownModelTypes()));
  }
  family->read(f, &c);
  f.Ids("bos_token_id", &c.bos_token_ids);
  f.Ids("eos_token_id", &c.eos_token_ids);
  // Some files say -1 for none; nothing here depends on it.
  if (const auto pad = json.find("pad_token_id"); pad != json.end() && pad->is_number_unsigned()) {
    c.pad_token_id = static_cast<int64_t>(pad->get<uint32_t>());
  }
  if (!f.status().ok()) return f.status();
  if (absl::Status s = DefaultHeadDim(where, &c); !s.ok()) return s;
  if (absl::Status s = ValidateModelConfig(c, where); !s.ok()) return s;
  return c;
}

std::string ModelConfigToJson(const ModelConfig& c, absl::string_view torch_dtype) {
  const ModelFamily* family = FindModelFamily(c.model_type);
  LORIKEET_CHECK(family != nullptr) << "ModelConfigToJson: no family is called " << c.model_type;
  nlohmann::ordered_json j;
  j["architectures"] = {family->architecture};
  j["model_type"] = c.model_type;
  family->write(c, &j);
  const auto ids = [](const std::vector<int32_t>& v) {
    return v.size() == 1 ? nlohmann::ordered_json(v[0]) : nlohmann::ordered_json(v);
  };
  if (!c.bos_token_ids.empty()) j["bos_token_id"] = ids(c.bos_token_ids);
  if (!c.eos_token_ids.empty()) j["eos_token_id"] = ids(c.eos_token_ids);
  j["pad_token_id"] = c.pad_token_id < 0 ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(c.pad_token_id);
  j["torch_dtype"] = std::string(torch_dtype);
  j["use_cache"] = true;
  return j.dump(2) + "\n";
}

}  // namespace lorikeet
