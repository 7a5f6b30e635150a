#include "peft/adapter_config.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"

namespace lorikeet {
namespace {

using Json = nlohmann::ordered_json;

// Fields that are read below.
constexpr const char* kRead[] = {"alpha_pattern",
                                 "base_model_name_or_path",
                                 "bias",
                                 "ensure_weight_tying",
                                 "exclude_modules",
                                 "init_lora_weights",
                                 "layers_pattern",
                                 "layers_to_transform",
                                 "loftq_config",
                                 "lora_alpha",
                                 "lora_dropout",
                                 "modules_to_save",
                                 "peft_type",
                                 "r",
                                 "rank_pattern",
                                 "target_modules",
                                 "trainable_token_indices",
                                 "use_dora",
                                 "use_rslora"};

// Fields that only say where an adapter came from, how it was initialised or how PEFT places it.
constexpr const char* kHarmless[] = {"auto_mapping",      "corda_config",   "eva_config",     "fan_in_fan_out",
                                     "inference_mode",    "lora_ga_config", "megatron_core",  "peft_version",
                                     "qalora_group_size", "revision",       "runtime_config", "task_type"};

// Fields that change what an adapter computes; set, they are an error.
constexpr const char* kUnsupported[] = {"alora_invocation_tokens",
                                        "arrow_config",
                                        "kasa_config",
                                        "layer_replication",
                                        "lora_bias",
                                        "megatron_config",
                                        "monteclora_config",
                                        "target_parameters",
                                        "use_bdlora",
                                        "use_qalora",
                                        "velora_config"};

// Initialisations that only choose A and B, and those that change W in a way that can be repeated.
constexpr const char* kKnownInits[] = {"gaussian", "orthogonal", "eva", "pissa", "olora", "loftq"};

bool Contains(absl::Span<const char* const> names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string Printed(const Json& v) { return v.dump(-1, ' ', true, Json::error_handler_t::replace); }

bool IsSet(const Json& v) {
  if (v.is_null() || v == false) return false;
  return !(v.is_array() || v.is_object()) || !v.empty();
}

constexpr size_t kMostTokens = 4096;  // of trainable_token_indices: a product has that many terms more
constexpr char kRankRule[] = "a whole number from 1 to 65536";

bool IsRank(const Json& v) { return v.is_number_integer() && v.get<int64_t>() >= 1 && v.get<int64_t>() <= 65536; }
bool IsPositive(const Json& v) { return v.is_number() && v.get<double>() > 0 && std::isfinite(v.get<double>()); }

// Reads fields, keeping the first complaint.
class Reader {
 public:
  Reader(const Json& object, absl::string_view where) : object_(object), where_(where) {}

  const Json* Find(const char* name) const {
    const auto it = object_.find(name);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  void Fail(const char* name, absl::string_view expected) {
    if (status.ok()) status = absl::InvalidArgumentError(absl::StrCat(where_, ": \"", name, "\" must be ", expected));
  }
  void Bool(const char* name, bool* out) {
    const Json* v = Find(name);
    if (v == nullptr) return;
    if (!v->is_boolean()) return Fail(name, "true or false");
    *out = v->get<bool>();
  }
  void Positive(const char* name, double* out) {
    const Json* v = Find(name);
    if (v == nullptr) return;
    if (!IsPositive(*v)) return Fail(name, "a positive number");
    *out = v->get<double>();
  }
  void Fraction(const char* name, double* out) {
    const Json* v = Find(name);
    if (v == nullptr) return;
    if (!v->is_number() || !(v->get<double>() >= 0 && v->get<double>() < 1))
      return Fail(name, "at least 0 and below 1");
    *out = v->get<double>();
  }
  void Rank(const char* name, int64_t* out) {
    const Json* v = Find(name);
    if (v == nullptr) return;
    if (!IsRank(*v)) return Fail(name, kRankRule);
    *out = v->get<int64_t>();
  }
  void Names(const char* name, NamePattern* out) {
    const Json* v = Find(name);
    if (v == nullptr) return;
    if (v->is_string()) {
      out->regex = v->get<std::string>();
      return;
    }
    if (!v->is_array()) return Fail(name, "a list of names or one regular expression");
    for (const Json& n : *v) {
      if (!n.is_string()) return Fail(name, "a list of names or one regular expression");
      out->list.push_back(n.get<std::string>());
    }
  }
  // A list of names, or one name.
  void List(const char* name, std::vector<std::string>* out) {
    NamePattern names;
    Names(name, &names);
    *out = names.regex ? std::vector<std::string>{*names.regex} : names.list;
  }
  template <typename T>
  void Pattern(const char* name, bool (*valid)(const Json&), const char* rule,
               std::vector<std::pair<std::string, T>>* out) {
    const Json* v = Find(name);
    if (v == nullptr) return;
    if (!v->is_object()) return Fail(name, "an object whose keys are regular expressions, as {\"q_proj\": 8}");
    for (const auto& [key, value] : v->items()) {
      if (!valid(value)) return Fail(name, absl::StrCat("an object whose values are each ", rule));
      out->emplace_back(key, value.template get<T>());
    }
  }
  void RankPattern(AdapterConfig* c) { Pattern("rank_pattern", IsRank, kRankRule, &c->rank_pattern); }
  void AlphaPattern(AdapterConfig* c) { Pattern("alpha_pattern", IsPositive, "a positive number", &c->alpha_pattern); }
  void TrainableTokens(AdapterConfig* c) {
    constexpr char kName[] = "trainable_token_indices";
    const Json* v = Find(kName);
    if (v == nullptr || (v->is_array() && v->empty())) return;
    if (!v->is_object()) return Tokens(kName, "", *v, c);
    for (const auto& [module, tokens] : v->items()) Tokens(kName, module, tokens, c);
  }
  void Layers(const char* name, std::vector<int64_t>* out) {
    const Json* v = Find(name);
    if (v == nullptr) return;
    const Json list = v->is_array() ? *v : Json::array({*v});
    for (const Json& n : list) {
      if (!n.is_number_integer()) return Fail(name, "a layer number or a list of them");
      out->push_back(n.get<int64_t>());
    }
  }

  absl::Status status;

 private:
  // Of one module.
  void Tokens(const char* name, const std::string& module, const Json& v, AdapterConfig* c) {
    constexpr char kRule[] = "a list of different token ids, or an object of such lists, as {\"embed_tokens\": [7, 8]}";
    if (!v.is_array() || v.empty()) return Fail(name, kRule);
    if (v.size() > kMostTokens)
      return Fail(name, absl::StrCat("at most ", kMostTokens, " tokens; modules_to_save trains an embedding whole"));
    std::vector<int64_t> tokens;
    std::set<int64_t> seen;
    for (const Json& n : v) {
      const bool id = n.is_number_unsigned() && n.get<uint64_t>() <= INT32_MAX;
      if (!id || !seen.insert(n.get<int64_t>()).second) return Fail(name, kRule);
      tokens.push_back(n.get<int64_t>());
    }
    c->trainable_token_indices.emplace_back(module, std::move(tokens));
  }

  const Json& object_;
  const std::string where_;
};

absl::Status CheckSupport(const Json& json, absl::string_view where, std::vector<std::string>* warnings) {
  for (const char* name : kUnsupported) {
    if (json.contains(name) && IsSet(json[name])) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": \"", name, "\" is set, which changes what the adapter computes and is not supported here"));
    }
  }
  for (const auto& [key, value] : json.items()) {
    const bool listed = Contains(kRead, key) || Contains(kHarmless, key) || Contains(kUnsupported, key);
    if (!listed && warnings != nullptr)
      warnings->push_back(absl::StrCat(where, ": \"", key, "\" is not known here and was ignored"));
  }
  return absl::OkStatus();
}

absl::Status ReadBias(const Reader& f, absl::string_view where, std::string* out) {
  const Json* bias = f.Find("bias");
  if (bias == nullptr) return absl::OkStatus();
  for (const char* known : {"none", "all", "lora_only"}) {
    if (*bias == known) return *out = known, absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": \"bias\" is ", Printed(*bias), ", expected \"none\", \"all\" or \"lora_only\""));
}

// LoftQ's first iteration leaves the base as 4-bit quantization makes it anyway; further ones do not.
absl::Status CheckLoftq(const Reader& f, absl::string_view where, std::vector<std::string>* warnings) {
  const Json* loftq = f.Find("loftq_config");
  if (loftq != nullptr && loftq->is_object() && loftq->value("loftq_iter", Json(1)) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": loftq_config's loftq_iter is not 1: the adapter goes with 4-bit weights that only its run had"));
  }
  if (warnings != nullptr) {
    warnings->push_back(absl::StrCat(where,
                                     ": the adapter was started by LoftQ, for a base in 4 bits; load that base "
                                     "so (--load_in_4bit, and what else it was quantized with)"));
  }
  return absl::OkStatus();
}

absl::Status ReadInit(const Reader& f, absl::string_view where, std::vector<std::string>* warnings, std::string* out) {
  const Json* init = f.Find("init_lora_weights");
  if (init == nullptr) return absl::OkStatus();
  if (init->is_boolean()) return *out = init->get<bool>() ? "true" : "false", absl::OkStatus();
  for (const char* name : kKnownInits) {
    if (*init != name) continue;
    *out = name;
    return *out == "loftq" ? CheckLoftq(f, where, warnings) : absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": \"init_lora_weights\" is ", Printed(*init),
                   ", which goes with changed base weights that the adapter does not hold; "
                   "convert it to an ordinary LoRA with PEFT's save_pretrained("
                   "path_initial_model_for_weight_conversion=...)"));
}

// 8 rather than 8.0, as Python writes an int.
Json NumberJson(double x) { return x == std::floor(x) && std::abs(x) < 1e15 ? Json(static_cast<int64_t>(x)) : Json(x); }

// The field alone; a text that is not JSON stands for itself, which no pattern is.
absl::Status ReadAlone(const char* name, absl::string_view text, absl::string_view where,
                       void (Reader::*read)(AdapterConfig*), AdapterConfig* config) {
  if (text.empty()) return absl::OkStatus();
  const Json value = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  Json object = Json::object();
  object[name] = value.is_discarded() || value.is_null() ? Json(std::string(text)) : value;
  Reader f(object, where);
  (f.*read)(config);
  return f.status;
}

Json TokensJson(const AdapterConfig& c) {
  const auto& all = c.trainable_token_indices;
  if (all.empty()) return nullptr;
  if (all.size() == 1 && all[0].first.empty()) return all[0].second;
  Json j = Json::object();
  for (const auto& [module, tokens] : all) j[module] = tokens;
  return j;
}

Json NamesJson(const NamePattern& p) {
  if (p.regex) return *p.regex;
  return p.list.empty() ? Json() : Json(p.list);
}

}  // namespace

double AdapterConfig::Scaling(int64_t rank, double alpha) const {
  const double n = static_cast<double>(rank);
  return use_rslora ? alpha / std::sqrt(n) : alpha / n;
}

absl::StatusOr<AdapterConfig> ParseAdapterConfig(absl::string_view text, absl::string_view where,
                                                 std::vector<std::string>* warnings) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(where, ": not a JSON object; is the file damaged?"));
  Reader f(json, where);
  const Json* type = f.Find("peft_type");
  if (type == nullptr || *type != "LORA") {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": peft_type is ", type == nullptr ? "missing" : Printed(*type), "; only \"LORA\" adapters are known"));
  }
  if (absl::Status s = CheckSupport(json, where, warnings); !s.ok()) return s;
  AdapterConfig c;
  if (absl::Status s = ReadBias(f, where, &c.bias); !s.ok()) return s;
  if (absl::Status s = ReadInit(f, where, warnings, &c.init_lora_weights); !s.ok()) return s;
  c.r = 8, c.lora_alpha = 8, c.all_linear = false;  // PEFT's defaults for what a file leaves out
  f.Rank("r", &c.r);
  f.Positive("lora_alpha", &c.lora_alpha);
  f.Fraction("lora_dropout", &c.lora_dropout);
  f.Bool("use_rslora", &c.use_rslora);
  f.Bool("use_dora", &c.use_dora);
  f.Names("target_modules", &c.target);
  f.Names("exclude_modules", &c.exclude);
  f.Bool("ensure_weight_tying", &c.ensure_weight_tying);
  f.List("modules_to_save", &c.modules_to_save);
  f.RankPattern(&c);
  f.AlphaPattern(&c);
  f.TrainableTokens(&c);
  f.Layers("layers_to_transform", &c.layers_to_transform);
  f.List("layers_pattern", &c.layers_pattern);
  if (const Json* base = f.Find("base_model_name_or_path")) {
    if (!base->is_string()) f.Fail("base_model_name_or_path", "a string");
    if (f.status.ok()) c.base_model_name_or_path = base->get<std::string>();
  }
  if (!f.status.ok()) return f.status;
  if (c.target.regex && absl::AsciiStrToLower(*c.target.regex) == "all-linear") {
    c.all_linear = true;
    c.target = {};
  }
  return c;
}

absl::Status ParseRankPattern(absl::string_view json, absl::string_view where, AdapterConfig* config) {
  return ReadAlone("rank_pattern", json, where, &Reader::RankPattern, config);
}

absl::Status ParseAlphaPattern(absl::string_view json, absl::string_view where, AdapterConfig* config) {
  return ReadAlone("alpha_pattern", json, where, &Reader::AlphaPattern, config);
}

absl::Status ParseTrainableTokenIndices(absl::string_view json, absl::string_view where, AdapterConfig* config) {
  return ReadAlone("trainable_token_indices", json, where, &Reader::TrainableTokens, config);
}

std::string AdapterConfigToJson(const AdapterConfig& c, const std::vector<std::string>& adapted, bool fan_in_fan_out) {
  // Keys sorted, as PEFT sorts them; but patterns keep their order, because the first match wins.
  std::map<std::string, Json> j;
  for (const char* name : {"alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config",
                           "exclude_modules", "kasa_config", "layer_replication", "layers_pattern",
                           "layers_to_transform", "lora_ga_config", "megatron_config", "modules_to_save",
                           "monteclora_config", "revision", "target_parameters", "use_bdlora", "velora_config"}) {
    j[name] = nullptr;
  }
  for (const char* name : {"lora_bias", "use_qalora"}) j[name] = false;
  j["fan_in_fan_out"] = fan_in_fan_out;
  j["inference_mode"] = true;
  j["base_model_name_or_path"] = c.base_model_name_or_path;
  j["bias"] = c.bias;
  j["ensure_weight_tying"] = c.ensure_weight_tying;
  const bool plain = c.init_lora_weights == "true" || c.init_lora_weights == "false";
  j["init_lora_weights"] = plain ? Json(c.init_lora_weights == "true") : Json(c.init_lora_weights);
  j["loftq_config"] =
      c.init_lora_weights == "loftq" ? Json{{"loftq_bits", 4}, {"loftq_iter", 1}} : Json(Json::object());
  if (!c.modules_to_save.empty()) j["modules_to_save"] = c.modules_to_save;
  j["lora_alpha"] = NumberJson(c.lora_alpha);
  j["lora_dropout"] = c.lora_dropout;
  j["megatron_core"] = "megatron.core";
  j["peft_type"] = "LORA";
  j["peft_version"] = "0.21.2";
  j["qalora_group_size"] = 16;
  j["r"] = c.r;
  j["rank_pattern"] = j["alpha_pattern"] = Json::object();
  for (const auto& [key, r] : c.rank_pattern) j["rank_pattern"][key] = r;
  for (const auto& [key, alpha] : c.alpha_pattern) j["alpha_pattern"][key] = NumberJson(alpha);
  j["target_modules"] = c.all_linear ? Json(adapted) : NamesJson(c.target);
  j["exclude_modules"] = NamesJson(c.exclude);
  if (!c.layers_to_transform.empty()) j["layers_to_transform"] = c.layers_to_transform;
  if (!c.layers_pattern.empty()) j["layers_pattern"] = c.layers_pattern;
  j["task_type"] = "CAUSAL_LM";
  j["trainable_token_indices"] = TokensJson(c);
  j["use_dora"] = c.use_dora;
  j["use_rslora"] = c.use_rslora;
  return Json(j).dump(2, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

}  // namespace lorikeet
