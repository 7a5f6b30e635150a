#include "nn/gguf_architecture.h"

#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tensor/io/gguf_rope.h"
#include "tensor/ops/elementwise.h"

namespace lorikeet {
namespace {

constexpr GgufNamePair kTopLevel[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr GgufNamePair kInLayer[] = {{"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
                                     {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
                                     {"attn_output", "self_attn.o_proj"}, {"ffn_gate", "mlp.gate_proj"},
                                     {"ffn_up", "mlp.up_proj"},           {"ffn_down", "mlp.down_proj"}};

constexpr GgufNamePair kLlama[] = {{"ffn_norm", "post_attention_layernorm"}};
constexpr GgufNamePair kQwen3[] = {
    {"ffn_norm", "post_attention_layernorm"}, {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"}};
constexpr GgufNamePair kGemma2[] = {{"post_attention_norm", "post_attention_layernorm"},
                                    {"ffn_norm", "pre_feedforward_layernorm"},
                                    {"post_ffw_norm", "post_feedforward_layernorm"}};
constexpr GgufNamePair kGemma3[] = {{"post_attention_norm", "post_attention_layernorm"},
                                    {"ffn_norm", "pre_feedforward_layernorm"},
                                    {"post_ffw_norm", "post_feedforward_layernorm"},
                                    {"attn_q_norm", "self_attn.q_norm"},
                                    {"attn_k_norm", "self_attn.k_norm"}};
constexpr GgufNamePair kPhi3[] = {
    {"ffn_norm", "post_attention_layernorm"}, {"attn_qkv", "self_attn.qkv_proj"}, {"ffn_up", "mlp.gate_up_proj"}};

constexpr GgufArchitecture kArchitectures[] = {
    {.name = "gemma2", .model_type = "gemma2", .special = kGemma2, .norms_plus_one = true},
    {.name = "gemma3", .model_type = "gemma3_text", .special = kGemma3, .norms_plus_one = true},
    {.name = "llama", .model_type = "llama", .special = kLlama, .interleaved_rope = true},
    {.name = "llama", .model_type = "mistral", .special = kLlama, .interleaved_rope = true, .window_unknown = true},
    {.name = "phi3", .model_type = "phi3", .special = kPhi3, .window_unknown = true},
    {.name = "qwen2", .model_type = "qwen2", .special = kLlama},
    {.name = "qwen3", .model_type = "qwen3", .special = kQwen3},
};

absl::string_view Translate(absl::Span<const GgufNamePair> table, absl::string_view name) {
  for (const auto& [gguf, hugging_face] : table) {
    if (name == gguf) return hugging_face;
  }
  return "";
}

absl::string_view TranslateBack(absl::Span<const GgufNamePair> table, absl::string_view name) {
  for (const auto& [gguf, hugging_face] : table) {
    if (name == hugging_face) return gguf;
  }
  return "";
}

// The heads whose rows lie interleaved in a tensor of that name, or 0.
int64_t InterleavedHeads(const GgufArchitecture& architecture, const ModelConfig& config, absl::string_view name) {
  if (!architecture.interleaved_rope) return 0;
  if (absl::StrContains(name, ".attn_q.")) return config.num_heads;
  return absl::StrContains(name, ".attn_k.") ? config.num_kv_heads : 0;
}

bool HoldsOneMore(const GgufArchitecture& architecture, absl::string_view name) {
  return architecture.norms_plus_one && absl::EndsWith(name, "norm.weight");
}

}  // namespace

const GgufArchitecture* FindGgufArchitecture(absl::string_view name) {
  for (const GgufArchitecture& a : kArchitectures) {
    if (name == a.name) return &a;
  }
  return nullptr;
}

const GgufArchitecture* GgufArchitectureOf(absl::string_view model_type) {
  for (const GgufArchitecture& a : kArchitectures) {
    if (model_type == a.model_type) return &a;
  }
  return nullptr;
}

std::string KnownGgufArchitectures() {
  std::string list;
  for (const GgufArchitecture& a : kArchitectures) {
    if (FindGgufArchitecture(a.name) != &a) continue;  // named already
    const bool last = &a == std::end(kArchitectures) - 1;
    absl::StrAppend(&list, list.empty() ? "" : last ? " and " : ", ", a.name);
  }
  return list;
}

std::string HuggingFaceName(const GgufArchitecture& architecture, absl::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == absl::string_view::npos) return std::string(name);
  const absl::string_view suffix = name.substr(dot), stem = name.substr(0, dot);
  if (const absl::string_view top = Translate(kTopLevel, stem); !top.empty()) return absl::StrCat(top, suffix);
  const std::vector<absl::string_view> parts = absl::StrSplit(stem, '.');
  if (parts.size() != 3 || parts[0] != "blk") return std::string(name);
  absl::string_view part = Translate(architecture.special, parts[2]);
  if (part.empty()) part = Translate(kInLayer, parts[2]);
  return part.empty() ? std::string(name) : absl::StrCat("model.layers.", parts[1], ".", part, suffix);
}

std::string GgufName(const GgufArchitecture& architecture, absl::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == absl::string_view::npos) return "";
  const absl::string_view suffix = name.substr(dot);
  absl::string_view stem = name.substr(0, dot);
  if (const absl::string_view top = TranslateBack(kTopLevel, stem); !top.empty()) return absl::StrCat(top, suffix);
  if (!absl::ConsumePrefix(&stem, "model.layers.")) return "";
  const std::pair<absl::string_view, absl::string_view> layer = absl::StrSplit(stem, absl::MaxSplits('.', 1));
  absl::string_view part = TranslateBack(architecture.special, layer.second);
  if (part.empty()) part = TranslateBack(kInLayer, layer.second);
  return part.empty() ? "" : absl::StrCat("blk.", layer.first, ".", part, suffix);
}

Tensor FromGguf(const GgufArchitecture& architecture, const ModelConfig& config, absl::string_view name,
                const Tensor& w) {
  if (HoldsOneMore(architecture, name)) return tensor::AddScalar(w.Cast(DType::kF32), -1);
  const int64_t heads = InterleavedHeads(architecture, config, name);
  return heads > 0 ? UnpermuteRope(w, heads) : w;
}

Tensor ToGguf(const GgufArchitecture& architecture, const ModelConfig& config, absl::string_view name,
              const Tensor& w) {
  if (HoldsOneMore(architecture, name)) return tensor::AddScalar(w.Cast(DType::kF32), 1);
  const int64_t heads = InterleavedHeads(architecture, config, name);
  return heads > 0 ? PermuteRope(w, heads) : w;
}

}  // namespace lorikeet
