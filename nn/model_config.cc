#include "nn/model_config.h"

#include <cmath>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace lorikeet {
namespace {

using Json = nlohmann::json;

// Reads typed fields of one object and remembers the first complaint, so that callers read like a list of fields.
class Fields {
 public:
  Fields(const Json& object, absl::string_view where) : object_(object), where_(where) {}

  void Int(const char* name, int64_t* out, bool required = false) {
    const Json* v = Find(name, required);
    if (v == nullptr) return;
    if (!v->is_number_integer() || v->get<int64_t>() < 0) return Complain(name, "a non-negative integer", *v);
    *out = v->get<int64_t>();
  }
  void Number(const char* name, double* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    if (!v->is_number()) return Complain(name, "a number", *v);
    *out = v->get<double>();
  }
  void Bool(const char* name, bool* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    if (!v->is_boolean()) return Complain(name, "true or false", *v);
    *out = v->get<bool>();
  }
  void String(const char* name, std::string* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    if (!v->is_string()) return Complain(name, "a string", *v);
    *out = v->get<std::string>();
  }
  // One id, or a list of them.
  void Ids(const char* name, std::vector<int32_t>* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    const auto add = [&](const Json& id) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX) {
        return Complain(name, "token ids", *v);
      }
      out->push_back(id.get<int32_t>());
    };
    if (!v->is_array()) return add(*v);
    for (const Json& id : *v) add(id);
  }
  const Json* Object(const char* name) {
    const Json* v = Find(name, false);
    if (v != nullptr && !v->is_object()) {
      Complain(name, "an object", *v);
      return nullptr;
    }
    return v;
  }
  const absl::Status& status() const { return status_; }

 private:
  const Json* Find(const char* name, bool required) {
    const auto it = object_.find(name);
    if (it != object_.end() && !it->is_null()) return &*it;
    if (required && status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat(where_, ": \"", name, "\" is missing"));
    }
    return nullptr;
  }
  void Complain(const char* name, const char* expected, const Json& got) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(
        absl::StrCat(where_, ": \"", name, "\" must be ", expected, ", got ", Describe(got)));
  }
  // Printing recurses into arrays and objects, which a hostile file may nest deeper than the stack.
  static std::string Describe(const Json& v) {
    if (v.is_array()) return "an array";
    if (v.is_object()) return "an object";
    return v.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
  }

  const Json& object_;
  const std::string where_;
  absl::Status status_;
};

absl::Status ParseRope(Fields& fields, absl::string_view where, ModelConfig* c) {
  fields.Number("rope_theta", &c->rope_theta);
  // transformers 5 calls it rope_parameters and puts the base frequency inside.
  const Json* scaling = fields.Object("rope_parameters");
  if (scaling == nullptr) scaling = fields.Object("rope_scaling");
  if (scaling == nullptr) return fields.status();
  Fields rope(*scaling, absl::StrCat(where, ": rope_scaling"));
  std::string type = "default";
  rope.String("type", &type);
  rope.String("rope_type", &type);
  rope.Number("rope_theta", &c->rope_theta);
  if (type == "default") return rope.status();
  c->rope_scaling.original_max_position = c->max_position_embeddings;
  rope.Number("factor", &c->rope_scaling.factor);
  rope.Number("low_freq_factor", &c->rope_scaling.low_freq_factor);
  rope.Number("high_freq_factor", &c->rope_scaling.high_freq_factor);
  rope.Int("original_max_position_embeddings", &c->rope_scaling.original_max_position);
  if (type == "linear") {
    c->rope_scaling.kind = RopeScaling::Kind::kLinear;
  } else if (type == "llama3") {
    c->rope_scaling.kind = RopeScaling::Kind::kLlama3;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": rope_type \"", type, "\" is not supported; known are default, linear and llama3"));
  }
  return rope.status();
}

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

absl::Status CheckRopeScaling(const RopeScaling& r, absl::string_view where) {
  if (r.kind == RopeScaling::Kind::kNone) return absl::OkStatus();
  const std::string rope = absl::StrCat(where, ": rope_scaling");
  if (!(r.factor >= 1 && r.factor <= 1e6)) {
    return absl::InvalidArgumentError(absl::StrCat(rope, ": factor is ", r.factor, ", expected 1 to 1e6"));
  }
  if (r.kind == RopeScaling::Kind::kLinear) return absl::OkStatus();
  if (!(0 < r.low_freq_factor && r.low_freq_factor < r.high_freq_factor)) {
    return absl::InvalidArgumentError(absl::StrCat(rope, ": low_freq_factor ", r.low_freq_factor,
                                                   " and high_freq_factor ", r.high_freq_factor,
                                                   ", expected 0 < low < high"));
  }
  return CheckRange(rope, "original_max_position_embeddings", r.original_max_position, int64_t{1} << 28);
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
  if (c.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": head_dim is ", c.head_dim, ", but rotary positions need an even one"));
  }
  if (!(c.rms_norm_eps > 0 && c.rms_norm_eps < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": rms_norm_eps is ", c.rms_norm_eps, ", expected between 0 and 1"));
  }
  if (!(c.rope_theta > 1 && c.rope_theta < 1e15)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": rope_theta is ", c.rope_theta, ", expected between 1 and 1e15"));
  }
  return CheckRopeScaling(c.rope_scaling, where);
}

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view text, absl::string_view where) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(where, ": not a JSON object; is the file damaged?"));
  ModelConfig c;
  Fields f(json, where);
  f.String("model_type", &c.model_type);
  if (c.model_type != "llama" && c.model_type != "qwen2") {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": model_type \"", c.model_type, "\" is not supported; known are llama and qwen2"));
  }
  f.Int("vocab_size", &c.vocab_size, true);
  f.Int("hidden_size", &c.hidden_size, true);
  f.Int("intermediate_size", &c.intermediate_size, true);
  f.Int("num_hidden_layers", &c.num_layers, true);
  f.Int("num_attention_heads", &c.num_heads, true);
  c.num_kv_heads = c.num_heads;
  f.Int("num_key_value_heads", &c.num_kv_heads);
  c.head_dim = 0;
  f.Int("head_dim", &c.head_dim);
  f.Int("max_position_embeddings", &c.max_position_embeddings);
  double eps = 1e-6;
  f.Number("rms_norm_eps", &eps);
  c.rms_norm_eps = static_cast<float>(std::fmin(eps, 1));  // a double beyond float's range has no float
  f.Bool("tie_word_embeddings", &c.tie_word_embeddings);
  f.Bool("mlp_bias", &c.mlp_bias);
  f.Bool("attention_bias", &c.qkv_bias);
  c.o_bias = c.qkv_bias;
  if (c.model_type == "qwen2") c.qkv_bias = true, c.o_bias = false;
  std::string activation = "silu";
  f.String("hidden_act", &activation);
  bool sliding_window = false;
  f.Bool("use_sliding_window", &sliding_window);
  f.Ids("bos_token_id", &c.bos_token_ids);
  f.Ids("eos_token_id", &c.eos_token_ids);
  if (!f.status().ok()) return f.status();
  if (absl::Status s = DefaultHeadDim(where, &c); !s.ok()) return s;
  if (activation != "silu") {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": hidden_act \"", activation, "\" is not supported; known is silu"));
  }
  if (sliding_window) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": use_sliding_window is true, which is not supported for ", c.model_type));
  }
  if (absl::Status s = ParseRope(f, where, &c); !s.ok()) return s;
  if (absl::Status s = ValidateModelConfig(c, where); !s.ok()) return s;
  return c;
}

std::string ModelConfigToJson(const ModelConfig& c, absl::string_view torch_dtype) {
  nlohmann::ordered_json j;
  j["architectures"] = {c.model_type == "qwen2" ? "Qwen2ForCausalLM" : "LlamaForCausalLM"};
  j["model_type"] = c.model_type;
  j["vocab_size"] = c.vocab_size;
  j["hidden_size"] = c.hidden_size;
  j["intermediate_size"] = c.intermediate_size;
  j["num_hidden_layers"] = c.num_layers;
  j["num_attention_heads"] = c.num_heads;
  j["num_key_value_heads"] = c.num_kv_heads;
  j["head_dim"] = c.head_dim;
  j["hidden_act"] = "silu";
  j["max_position_embeddings"] = c.max_position_embeddings;
  j["rms_norm_eps"] = static_cast<double>(c.rms_norm_eps);
  j["rope_theta"] = c.rope_theta;
  if (c.rope_scaling.kind == RopeScaling::Kind::kLinear) {
    j["rope_scaling"] = {{"rope_type", "linear"}, {"factor", c.rope_scaling.factor}};
  } else if (c.rope_scaling.kind == RopeScaling::Kind::kLlama3) {
    j["rope_scaling"] = {{"rope_type", "llama3"},
                         {"factor", c.rope_scaling.factor},
                         {"low_freq_factor", c.rope_scaling.low_freq_factor},
                         {"high_freq_factor", c.rope_scaling.high_freq_factor},
                         {"original_max_position_embeddings", c.rope_scaling.original_max_position}};
  }
  j["tie_word_embeddings"] = c.tie_word_embeddings;
  if (c.model_type == "llama") {
    j["attention_bias"] = c.qkv_bias;
    j["mlp_bias"] = c.mlp_bias;
  }
  const auto ids = [](const std::vector<int32_t>& v) {
    return v.size() == 1 ? nlohmann::ordered_json(v[0]) : nlohmann::ordered_json(v);
  };
  if (!c.bos_token_ids.empty()) j["bos_token_id"] = ids(c.bos_token_ids);
  if (!c.eos_token_ids.empty()) j["eos_token_id"] = ids(c.eos_token_ids);
  j["torch_dtype"] = std::string(torch_dtype);
  j["use_cache"] = true;
  return j.dump(2) + "\n";
}

}  // namespace lorikeet
