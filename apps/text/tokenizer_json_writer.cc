#include <string>

#include "absl/strings/str_cat.h"
#include "apps/text/sentencepiece_json.h"
#include "apps/text/tokenizer_json.h"
#include "nlohmann/json.hpp"

namespace lorikeet::text {
namespace {

using nlohmann::json;

// Token texts come from JSON or were made here, but GGUF strings may be any bytes.
std::string Dump(const json& value) { return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n"; }

json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

json PretokenizerJson(PretokenizerFamily family) {
  if (family == PretokenizerFamily::kGpt2) return ByteLevel(true);
  if (family == PretokenizerFamily::kSmolLm) {
    const json digits = {{"type", "Digits"}, {"individual_digits", true}};
    return {{"type", "Sequence"}, {"pretokenizers", json::array({digits, ByteLevel(true)})}};
  }
  const absl::string_view pattern = FamilyPattern(family);
  const json split = {
      {"type", "Split"}, {"pattern", {{"Regex", std::string(pattern)}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", json::array({split, ByteLevel(false)})}};
}

json ModelJson(const BpeSpec& spec) {
  json vocab = json::object(), merges = json::array();
  for (size_t id = 0; id < spec.vocab.size(); ++id) vocab[spec.vocab[id]] = id;
  for (const Merge& m : spec.merges) merges.push_back(json::array({spec.vocab[m.left], spec.vocab[m.right]}));
  const SentencePieceRules* rules = spec.sentencepiece.has_value() ? &*spec.sentencepiece : nullptr;
  const bool has_unknown = rules != nullptr && rules->unknown_id >= 0;
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", has_unknown ? json(std::string(spec.TokenText(rules->unknown_id))) : json(nullptr)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", rules != nullptr && rules->fuse_unknown},
          {"byte_fallback", rules != nullptr && rules->byte_fallback},
          {"ignore_merges", spec.ignore_merges},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

json AddedTokensJson(const BpeSpec& spec) {
  json added = json::array();
  for (const AddedToken& token : spec.added) {
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  return added;
}

// [prefix] text [suffix], for one text and for a pair.
json PostProcessorJson(const BpeSpec& spec) {
  if (spec.prefix_ids.empty() && spec.suffix_ids.empty()) {
    return spec.sentencepiece.has_value() ? json(nullptr) : ByteLevel(true);
  }
  json table = json::object();
  const auto special = [&](int32_t id, int type) -> json {
    const std::string name(spec.TokenText(id));
    table[name] = {{"id", name}, {"ids", json::array({id})}, {"tokens", json::array({name})}};
    return {{"SpecialToken", {{"id", name}, {"type_id", type}}}};
  };
  const auto append = [&](const char* text, int type, json* out) {
    for (const int32_t id : spec.prefix_ids) out->push_back(special(id, type));
    out->push_back({{"Sequence", {{"id", text}, {"type_id", type}}}});
    for (const int32_t id : spec.suffix_ids) out->push_back(special(id, type));
  };
  json single = json::array(), pair = json::array();
  append("A", 0, &single);
  append("A", 0, &pair);
  append("B", 1, &pair);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", table}};
}

}  // namespace

std::string ToTokenizerJson(const BpeSpec& spec) {
  json root = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", AddedTokensJson(spec)},
               {"normalizer", spec.normalizer == Normalizer::kNfc ? json({{"type", "NFC"}}) : json(nullptr)},
               {"pre_tokenizer", PretokenizerJson(spec.pretokenizer)},
               {"post_processor", PostProcessorJson(spec)},
               {"decoder", ByteLevel(true)},
               {"model", ModelJson(spec)}};
  if (spec.sentencepiece.has_value()) WriteSentencePieceRules(*spec.sentencepiece, &root);
  return Dump(root);
}

std::string ToTokenizerConfigJson(const BpeSpec& spec) {
  json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, int32_t id) {
    if (id >= 0) config[key] = std::string(spec.TokenText(id));
  };
  name("bos_token", spec.bos_id);
  name("eos_token", spec.eos_id);
  name("pad_token", spec.pad_id);
  name("unk_token", spec.unk_id);
  if (!spec.chat_template.empty()) config["chat_template"] = spec.chat_template;
  return Dump(config);
}

}  // namespace lorikeet::text
