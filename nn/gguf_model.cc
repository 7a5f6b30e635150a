#include "nn/gguf_model.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "nn/rope_factors.h"
#include "tensor/check.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/ops/rope_scaling.h"

namespace lorikeet {
namespace {

constexpr int64_t kMaxLayers = 1024;  // more are refused later on

// Reads keys of one architecture and remembers the first that is missing or of the wrong type.
class Keys {
 public:
  Keys(const GgufFile& file, std::string architecture) : file_(file), architecture_(std::move(architecture)) {}

  int64_t Int(absl::string_view key) { return Take(file_.metadata().Int(Full(key)), int64_t{0}); }
  int64_t Int(absl::string_view key, int64_t otherwise) { return Has(key) ? Int(key) : otherwise; }
  double Float(absl::string_view key) { return Take(file_.metadata().Float(Full(key)), 0.0); }
  double Float(absl::string_view key, double otherwise) { return Has(key) ? Float(key) : otherwise; }
  std::string String(absl::string_view key, const char* otherwise) {
    return Has(key) ? Take(file_.metadata().String(Full(key)), std::string()) : otherwise;
  }
  bool Has(absl::string_view key) const { return file_.metadata().Has(Full(key)); }
  void Fail(absl::string_view key, absl::string_view what) {
    Fail(absl::InvalidArgumentError(absl::StrCat(Full(key), " is ", what)));
  }
  void Fail(const absl::Status& status) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(file_.where(), ": ", status.message()));
  }
  const absl::Status& status() const { return status_; }

 private:
  std::string Full(absl::string_view key) const { return absl::StrCat(architecture_, ".", key); }
  template <typename T>
  T Take(absl::StatusOr<T> value, T otherwise) {
    if (value.ok()) return *value;
    Fail(value.status());
    return otherwise;
  }

  const GgufFile& file_;
  const std::string architecture_;
  absl::Status status_;
};

constexpr int64_t kGemma2Window = 4096;      // where the file does not say
constexpr double kGemma3LocalTheta = 10000;  // the same

// Which layers have the window: all but every pattern-th.
void ReadWindow(Keys& keys, int64_t otherwise, int64_t pattern, ModelConfig* c) {
  c->sliding_window = keys.Int("attention.sliding_window", otherwise);
  pattern = keys.Int("attention.sliding_window_pattern", pattern);
  if (c->sliding_window == 0) return;
  if (pattern < 1) return keys.Fail("attention.sliding_window_pattern", absl::StrCat(pattern, ", expected 1 or more"));
  for (int64_t i = 1; i <= std::min(c->num_layers, kMaxLayers); ++i) c->sliding_layers.push_back(i % pattern != 0);
}

// GGUF has no word for Gemma's query_pre_attn_scalar: it is head_dim, but in the two models that are recognised by
// their depth, the 27B of either generation.
void ReadGemma(Keys& keys, int64_t layers_of_27b, ModelConfig* c) {
  const bool is_27b = c->num_layers == layers_of_27b && c->num_heads > 0;
  c->query_pre_attn_scalar = static_cast<double>(is_27b ? c->hidden_size / c->num_heads : c->head_dim);
  c->attn_softcap = static_cast<float>(keys.Float("attn_logit_softcapping", 0));
  c->final_softcap = static_cast<float>(keys.Float("final_logit_softcapping", 0));
}

void ReadGemma2(Keys& keys, ModelConfig* c) {
  ReadGemma(keys, 46, c);
  ReadWindow(keys, kGemma2Window, 2, c);
}

void ReadGemma3(Keys& keys, ModelConfig* c) {
  ReadGemma(keys, 62, c);
  ReadWindow(keys, 0, 6, c);
  c->rope_local_theta = keys.Float("rope.freq_base_swa", kGemma3LocalTheta);
  c->qk_norm = true;
  if (c->attn_softcap != 0) keys.Fail("attn_logit_softcapping", "set, which Gemma 3 has no place for");
}

// llama.cpp itself does not apply Phi-3's window; transformers does.
void ReadPhi3(Keys& keys, ModelConfig* c) { c->sliding_window = keys.Int("attention.sliding_window", 0); }

// Mistral is llama with a window.
void ReadLlama(Keys& keys, ModelConfig* c) {
  c->sliding_window = keys.Int("attention.sliding_window", 0);
  if (c->sliding_window != 0) c->model_type = "mistral";
}

void ReadQwen3(Keys&, ModelConfig* c) { c->qk_norm = true; }

// What an architecture has beyond the sizes that all share.
void ReadSpecial(absl::string_view architecture, Keys& keys, ModelConfig* c) {
  if (architecture == "gemma2") return ReadGemma2(keys, c);
  if (architecture == "gemma3") return ReadGemma3(keys, c);
  if (architecture == "llama") return ReadLlama(keys, c);
  if (architecture == "phi3") return ReadPhi3(keys, c);
  if (architecture == "qwen3") return ReadQwen3(keys, c);
}

void ReadSizes(Keys& keys, ModelConfig* c) {
  c->hidden_size = keys.Int("embedding_length");
  c->intermediate_size = keys.Int("feed_forward_length");
  c->num_layers = keys.Int("block_count");
  c->num_heads = keys.Int("attention.head_count");
  c->num_kv_heads = keys.Int("attention.head_count_kv", c->num_heads);
  c->head_dim = keys.Int("attention.key_length", c->num_heads > 0 ? c->hidden_size / c->num_heads : 0);
  c->max_position_embeddings = keys.Int("context_length");
  c->rms_norm_eps = static_cast<float>(keys.Float("attention.layer_norm_rms_epsilon"));
}

// Llama 3's scaling, of which the file has the result alone.
void ReadRopeFactors(const GgufFile& file, Keys& keys, ModelConfig* c) {
  const absl::StatusOr<Tensor> factors = file.Read(kRopeFactors);
  if (!factors.ok()) return keys.Fail(factors.status());
  if (const absl::optional<RopeScaling> scaling = ScalingOfFactors(*factors, *c)) {
    c->rope_scaling = *scaling;
    return;
  }
  keys.Fail(absl::InvalidArgumentError(absl::StrCat(
      kRopeFactors, " is not Llama 3's scaling (rope_type llama3 with low_freq_factor 1 and high_freq_factor 4) of ",
      c->head_dim / 2, " frequencies of base ", c->rope_theta, "; use the Hugging Face directory of this model")));
}

std::vector<double> ReadFactors(const GgufFile& file, const char* name, Keys& keys) {
  const absl::StatusOr<Tensor> t = file.Read(name);
  if (!t.ok()) {
    keys.Fail(t.status());
    return {};
  }
  if (t->dtype() != DType::kF32 || t->rank() != 1) {
    keys.Fail(absl::InvalidArgumentError(absl::StrCat(name, " is ", Describe(*t), ", expected f32[rotated / 2]")));
    return {};
  }
  return {t->data<float>().begin(), t->data<float>().end()};
}

// Phi-3's: llama.cpp's converter has no word for the scheme, the tensors say it.
void ReadLongRope(const GgufFile& file, Keys& keys, ModelConfig* c) {
  RopeScaling& s = c->rope_scaling;
  s.kind = RopeScaling::Kind::kLongRope;
  s.short_factor = ReadFactors(file, kShortRopeFactors, keys);
  s.long_factor = ReadFactors(file, kLongRopeFactors, keys);
  s.original_max_position = keys.Int("rope.scaling.original_context_length");
  s.attention_factor = keys.Float("rope.scaling.attn_factor");
  if (s.original_max_position > 0)
    s.factor = static_cast<double>(c->max_position_embeddings) / static_cast<double>(s.original_max_position);
}

void ReadYarn(Keys& keys, ModelConfig* c) {
  RopeScaling& s = c->rope_scaling;
  s.kind = RopeScaling::Kind::kYarn;
  s.factor = keys.Float("rope.scaling.factor");
  s.original_max_position = keys.Int("rope.scaling.original_context_length", c->max_position_embeddings);
  s.beta_fast = keys.Float("rope.scaling.yarn_beta_fast", s.beta_fast);
  s.beta_slow = keys.Float("rope.scaling.yarn_beta_slow", s.beta_slow);
  const std::pair<const char*, double> others[] = {{"rope.scaling.attn_factor", 1},
                                                   {"rope.scaling.yarn_attn_factor", 1},
                                                   {"rope.scaling.yarn_ext_factor", 1},
                                                   {"rope.scaling.yarn_log_multiplier", 0}};
  for (const auto& [name, usual] : others) {
    const double value = keys.Float(name, usual);
    if (value != usual) keys.Fail(name, absl::StrCat(value, ", which is not supported with YaRN"));
  }
}

void ReadRopeScaling(const GgufFile& file, Keys& keys, ModelConfig* c) {
  const std::string type = keys.String("rope.scaling.type", "none");
  const bool freqs = file.Find(kRopeFactors) != nullptr;
  const bool two_sets = file.Find(kShortRopeFactors) != nullptr || file.Find(kLongRopeFactors) != nullptr;
  if ((type != "none" && type != "longrope") + freqs + two_sets > 1) {
    keys.Fail(absl::InvalidArgumentError("rotary positions are scaled in two ways at once, which is not supported"));
  } else if (freqs) {
    ReadRopeFactors(file, keys, c);
  } else if (two_sets) {
    ReadLongRope(file, keys, c);
  } else if (type == "linear") {
    c->rope_scaling.kind = RopeScaling::Kind::kLinear;
    c->rope_scaling.factor = keys.Float("rope.scaling.factor");
  } else if (type == "yarn") {
    ReadYarn(keys, c);
  } else if (type == "longrope") {
    keys.Fail("rope.scaling.type", absl::StrCat("\"longrope\", but there is no ", kLongRopeFactors));
  } else if (type != "none") {
    keys.Fail("rope.scaling.type", absl::StrCat("\"", type, "\"; known are none, linear and yarn"));
  }
}

// Frequencies, and what scales them.
void ReadRope(const GgufFile& file, Keys& keys, ModelConfig* c) {
  c->rope_theta = keys.Float("rope.freq_base", 10000);
  const int64_t rotated = keys.Int("rope.dimension_count", c->head_dim);
  if (c->model_type == "phi3" && c->head_dim > 0) {
    c->partial_rotary_factor = static_cast<double>(rotated) / static_cast<double>(c->head_dim);
  } else if (rotated != c->head_dim) {
    keys.Fail("rope.dimension_count", absl::StrCat(rotated, ", expected all ", c->head_dim, " dimensions of a head"));
  }
  ReadRopeScaling(file, keys, c);
}

// One end mark of a text, if the file names it.
void ReadTokenId(const GgufFile& file, const char* key, Keys& keys, ModelConfig* c, std::vector<int32_t>* ids) {
  if (!file.metadata().Has(key)) return;
  absl::StatusOr<int64_t> id = file.metadata().Int(key);
  if (!id.ok() || *id < 0 || *id >= c->vocab_size) {
    return keys.Fail(absl::InvalidArgumentError(absl::StrCat(key, " is not a token id")));
  }
  ids->push_back(static_cast<int32_t>(*id));
}

absl::StatusOr<const GgufArchitecture*> ArchitectureOf(const GgufFile& file) {
  absl::StatusOr<std::string> name = file.metadata().String("general.architecture");
  if (!name.ok()) return absl::InvalidArgumentError(absl::StrCat(file.where(), ": ", name.status().message()));
  if (const GgufArchitecture* known = FindGgufArchitecture(*name)) return known;
  return absl::InvalidArgumentError(absl::StrCat(file.where(), ": architecture \"", *name,
                                                 "\" is not supported as GGUF; known are ", KnownGgufArchitectures(),
                                                 ". For other families use the Hugging Face directory"));
}

const GgufArchitecture& ArchitectureOf(const ModelConfig& config) {
  const GgufArchitecture* known = GgufArchitectureOf(config.model_type);
  LORIKEET_CHECK(known != nullptr) << "model_type " << config.model_type << " has no architecture in GGUF";
  return *known;
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfigFromGguf(const GgufFile& file) {
  const absl::StatusOr<const GgufArchitecture*> architecture = ArchitectureOf(file);
  if (!architecture.ok()) return architecture.status();
  const TensorInfo* embedding = file.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.rank() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(file.where(), ": token_embd.weight is missing or not a matrix"));
  }
  Keys keys(file, (*architecture)->name);
  ModelConfig c;
  c.model_type = (*architecture)->model_type;
  c.vocab_size = embedding->shape[0];
  ReadSizes(keys, &c);
  ReadRope(file, keys, &c);
  ReadSpecial((*architecture)->name, keys, &c);
  c.tie_word_embeddings = file.Find("output.weight") == nullptr;
  c.qkv_bias = file.Find("blk.0.attn_q.bias") != nullptr;
  c.o_bias = file.Find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = file.Find("blk.0.ffn_up.bias") != nullptr;
  ReadTokenId(file, "tokenizer.ggml.bos_token_id", keys, &c, &c.bos_token_ids);
  ReadTokenId(file, "tokenizer.ggml.eos_token_id", keys, &c, &c.eos_token_ids);
  if (!keys.status().ok()) return keys.status();
  if (absl::Status s = ValidateModelConfig(c, file.where()); !s.ok()) return s;
  return c;
}

GgufModelSource::GgufModelSource(const GgufFile& file, const ModelConfig& config)
    : file_(file), config_(config), architecture_(ArchitectureOf(config)) {
  for (const TensorInfo& t : file.tensors()) {
    if (IsRopeTensor(t.name)) continue;  // a part of the configuration
    TensorInfo renamed = t;
    renamed.name = HuggingFaceName(architecture_, t.name);
    index_.emplace(renamed.name, tensors_.size());
    tensors_.push_back(std::move(renamed));
    stored_names_.push_back(t.name);
  }
}

const TensorInfo* GgufModelSource::Find(absl::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

absl::StatusOr<Tensor> GgufModelSource::Read(absl::string_view name) const {
  const auto it = index_.find(name);
  const std::string stored = it == index_.end() ? std::string(name) : stored_names_[it->second];
  absl::StatusOr<Tensor> t = file_.Read(stored);
  if (!t.ok()) return t;
  return FromGguf(architecture_, config_, stored, *t);
}

}  // namespace lorikeet
