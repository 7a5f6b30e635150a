#include "nn/gguf_model.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/io/gguf_rope.h"

namespace lorikeet {
namespace {

constexpr std::pair<absl::string_view, absl::string_view> kTopLevel[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr std::pair<absl::string_view, absl::string_view> kInLayer[] = {
    {"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"}};

template <size_t N>
absl::string_view TranslateBack(const std::pair<absl::string_view, absl::string_view> (&table)[N],
                                absl::string_view name) {
  for (const auto& [gguf, hugging_face] : table) {
    if (name == hugging_face) return gguf;
  }
  return "";
}

template <size_t N>
absl::string_view Translate(const std::pair<absl::string_view, absl::string_view> (&table)[N], absl::string_view name) {
  for (const auto& [gguf, hugging_face] : table) {
    if (name == gguf) return hugging_face;
  }
  return "";
}

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
  const absl::Status& status() const { return status_; }

 private:
  std::string Full(absl::string_view key) const { return absl::StrCat(architecture_, ".", key); }
  template <typename T>
  T Take(absl::StatusOr<T> value, T otherwise) {
    if (value.ok()) return *value;
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(file_.where(), ": ", value.status().message()));
    return otherwise;
  }

  const GgufFile& file_;
  const std::string architecture_;
  absl::Status status_;
};

}  // namespace

std::string HuggingFaceName(absl::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == absl::string_view::npos) return std::string(name);
  const absl::string_view suffix = name.substr(dot), stem = name.substr(0, dot);
  if (const absl::string_view top = Translate(kTopLevel, stem); !top.empty()) return absl::StrCat(top, suffix);
  const std::vector<absl::string_view> parts = absl::StrSplit(stem, '.');
  if (parts.size() != 3 || parts[0] != "blk") return std::string(name);
  const absl::string_view part = Translate(kInLayer, parts[2]);
  return part.empty() ? std::string(name) : absl::StrCat("model.layers.", parts[1], ".", part, suffix);
}

std::string GgufName(absl::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == absl::string_view::npos) return "";
  const absl::string_view suffix = name.substr(dot);
  absl::string_view stem = name.substr(0, dot);
  if (const absl::string_view top = TranslateBack(kTopLevel, stem); !top.empty()) return absl::StrCat(top, suffix);
  if (!absl::ConsumePrefix(&stem, "model.layers.")) return "";
  const std::pair<absl::string_view, absl::string_view> layer = absl::StrSplit(stem, absl::MaxSplits('.', 1));
  const absl::string_view part = TranslateBack(kInLayer, layer.second);
  return part.empty() ? "" : absl::StrCat("blk.", layer.first, ".", part, suffix);
}

absl::StatusOr<ModelConfig> ModelConfigFromGguf(const GgufFile& file) {
  absl::StatusOr<std::string> architecture = file.metadata().String("general.architecture");
  if (!architecture.ok())
    return absl::InvalidArgumentError(absl::StrCat(file.where(), ": ", architecture.status().message()));
  if (*architecture != "llama" && *architecture != "qwen2") {
    return absl::InvalidArgumentError(
        absl::StrCat(file.where(), ": architecture \"", *architecture,
                     "\" is not supported as GGUF; known are llama and qwen2. For other families use the "
                     "Hugging Face directory"));
  }
  const TensorInfo* embedding = file.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.rank() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(file.where(), ": token_embd.weight is missing or not a matrix"));
  }
  Keys keys(file, *architecture);
  ModelConfig c;
  c.model_type = *architecture;
  c.vocab_size = embedding->shape[0];
  c.hidden_size = keys.Int("embedding_length");
  c.intermediate_size = keys.Int("feed_forward_length");
  c.num_layers = keys.Int("block_count");
  c.num_heads = keys.Int("attention.head_count");
  c.num_kv_heads = keys.Int("attention.head_count_kv", c.num_heads);
  c.head_dim = keys.Int("attention.key_length", c.num_heads > 0 ? c.hidden_size / c.num_heads : 0);
  c.max_position_embeddings = keys.Int("context_length");
  c.rms_norm_eps = static_cast<float>(keys.Float("attention.layer_norm_rms_epsilon"));
  c.rope_theta = keys.Float("rope.freq_base", 10000);
  c.tie_word_embeddings = file.Find("output.weight") == nullptr;
  c.qkv_bias = file.Find("blk.0.attn_q.bias") != nullptr;
  c.o_bias = file.Find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = file.Find("blk.0.ffn_up.bias") != nullptr;
  const std::string scaling = keys.String("rope.scaling.type", "none");
  if (scaling == "linear") {
    c.rope_scaling.kind = RopeScaling::Kind::kLinear;
    c.rope_scaling.factor = keys.Float("rope.scaling.factor");
  }
  if (!keys.status().ok()) return keys.status();
  if (file.Find("rope_freqs.weight") != nullptr || (scaling != "none" && scaling != "linear")) {
    return absl::InvalidArgumentError(absl::StrCat(file.where(),
                                                   ": rotary scaling by rope_freqs.weight, or by a rope.scaling.type "
                                                   "other than linear, is not supported; use the Hugging Face "
                                                   "directory of this model"));
  }
  for (const auto& [key, ids] : {std::make_pair("tokenizer.ggml.bos_token_id", &c.bos_token_ids),
                                 std::make_pair("tokenizer.ggml.eos_token_id", &c.eos_token_ids)}) {
    if (!file.metadata().Has(key)) continue;
    absl::StatusOr<int64_t> id = file.metadata().Int(key);
    if (!id.ok() || *id < 0 || *id >= c.vocab_size)
      return absl::InvalidArgumentError(absl::StrCat(file.where(), ": ", key, " is not a token id"));
    ids->push_back(static_cast<int32_t>(*id));
  }
  if (absl::Status s = ValidateModelConfig(c, file.where()); !s.ok()) return s;
  return c;
}

GgufModelSource::GgufModelSource(const GgufFile& file, const ModelConfig& config) : file_(file), config_(config) {
  for (const TensorInfo& t : file.tensors()) {
    TensorInfo renamed = t;
    renamed.name = HuggingFaceName(t.name);
    index_.emplace(renamed.name, tensors_.size());
    tensors_.push_back(std::move(renamed));
  }
}

const TensorInfo* GgufModelSource::Find(absl::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

absl::StatusOr<Tensor> GgufModelSource::Read(absl::string_view name) const {
  const auto it = index_.find(name);
  const std::string stored = it == index_.end() ? std::string(name) : file_.tensors()[it->second].name;
  absl::StatusOr<Tensor> t = file_.Read(stored);
  if (!t.ok() || config_.model_type != "llama") return t;
  // llama.cpp's converter interleaves the two halves of every head of q and k; undo it.
  if (absl::StrContains(stored, ".attn_q.")) return UnpermuteRope(*t, config_.num_heads);
  if (absl::StrContains(stored, ".attn_k.")) return UnpermuteRope(*t, config_.num_kv_heads);
  return t;
}

}  // namespace lorikeet
