#include "apps/text/sentencepiece_json.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/text/json.h"
#include "apps/text/sentencepiece.h"

namespace lorikeet::text {
namespace {

using nlohmann::json;
using Prefix = SentencePieceRules::Prefix;

absl::Status Unsupported(absl::string_view where, const json& value) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", value.dump(), " is not supported"));
}

// The value of a member, or null.
json ValueOf(const json& object, const char* key) {
  const json* value = Member(object, key);
  return value == nullptr ? json(nullptr) : *value;
}

bool TypeIs(const json& part, absl::string_view type) {
  const std::string* name = StringMember(part, "type");
  return name != nullptr && *name == type;
}

// The parts of a Sequence, or the value itself as the only part; null has none.
json PartsOf(const json& value, const char* key) {
  if (value.is_null()) return json::array();
  if (!TypeIs(value, "Sequence")) return json::array({value});
  const json* parts = Member(value, key);
  return parts != nullptr && parts->is_array() ? *parts : json::array({value});
}

// {"type": "Replace", "pattern": {"String": from}, "content": to}
bool IsReplace(const json& part, absl::string_view from, absl::string_view to) {
  return TypeIs(part, "Replace") && ValueOf(ValueOf(part, "pattern"), "String") == std::string(from) &&
         ValueOf(part, "content") == std::string(to);
}
json Replace(absl::string_view from, absl::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", std::string(from)}}}, {"content", std::string(to)}};
}

bool IsPrepend(const json& part) {
  return TypeIs(part, "Prepend") && ValueOf(part, "prepend") == std::string(kSpaceMark);
}

// Gemma's: cuts at spaces, of which the normalizer has left none.
json SplitAtSpaces() {
  return {{"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
}

absl::Status ReadNormalizers(const json& normalizer, const json& pre_tokenizer, SentencePieceRules* rules) {
  const json parts = PartsOf(normalizer, "normalizers");
  const bool prepend = parts.size() == 2 && IsPrepend(parts[0]);
  if (parts.size() != (prepend ? 2u : 1u) || !IsReplace(parts.back(), " ", kSpaceMark)) {
    return Unsupported("normalizer", normalizer);
  }
  if (!pre_tokenizer.is_null() && pre_tokenizer != SplitAtSpaces()) return Unsupported("pre_tokenizer", pre_tokenizer);
  rules->in_normalizer = true;
  rules->prefix = prepend ? Prefix::kAlways : Prefix::kNever;
  return absl::OkStatus();
}

absl::Status ReadMetaspace(const json& normalizer, const json& pre_tokenizer, SentencePieceRules* rules) {
  if (!PartsOf(normalizer, "normalizers").empty()) return Unsupported("normalizer", normalizer);
  const bool add_prefix = BoolMember(pre_tokenizer, "add_prefix_space", true);  // how older files say it
  const json scheme = pre_tokenizer.value("prepend_scheme", json(add_prefix ? "always" : "never"));
  if (ValueOf(pre_tokenizer, "replacement") != std::string(kSpaceMark) || (!add_prefix && scheme != "never") ||
      (scheme != "first" && scheme != "always" && scheme != "never")) {
    return Unsupported("pre_tokenizer", pre_tokenizer);
  }
  rules->in_normalizer = false;
  rules->prefix = scheme == "first" ? Prefix::kFirst : scheme == "always" ? Prefix::kAlways : Prefix::kNever;
  rules->split_words = BoolMember(pre_tokenizer, "split", true);
  return absl::OkStatus();
}

absl::Status ReadDecoder(const json& decoder, SentencePieceRules* rules) {
  const json parts = PartsOf(decoder, "decoders");
  rules->strip_first_space = parts.size() == 4;
  const bool known = (parts.size() == 3 || parts.size() == 4) && IsReplace(parts[0], kSpaceMark, " ") &&
                     TypeIs(parts[1], "ByteFallback") && TypeIs(parts[2], "Fuse");
  const bool strip = parts.size() == 4 && TypeIs(parts[3], "Strip") && ValueOf(parts[3], "content") == " " &&
                     ValueOf(parts[3], "start") == 1 && ValueOf(parts[3], "stop") == 0;
  return known && strip == rules->strip_first_space ? absl::OkStatus() : Unsupported("decoder", decoder);
}

}  // namespace

bool IsSentencePieceJson(const json& root) {
  const json parts = PartsOf(ValueOf(root, "normalizer"), "normalizers");
  return TypeIs(ValueOf(root, "pre_tokenizer"), "Metaspace") ||
         (!parts.empty() && (IsPrepend(parts.front()) || IsReplace(parts.back(), " ", kSpaceMark)));
}

absl::StatusOr<SentencePieceRules> ReadSentencePieceRules(const json& root) {
  SentencePieceRules rules;
  const json normalizer = ValueOf(root, "normalizer"), pre_tokenizer = ValueOf(root, "pre_tokenizer");
  absl::Status status = TypeIs(pre_tokenizer, "Metaspace") ? ReadMetaspace(normalizer, pre_tokenizer, &rules)
                                                           : ReadNormalizers(normalizer, pre_tokenizer, &rules);
  if (!status.ok()) return status;
  status = ReadDecoder(ValueOf(root, "decoder"), &rules);
  if (!status.ok()) return status;
  const json model = ValueOf(root, "model");
  rules.byte_fallback = BoolMember(model, "byte_fallback", false);
  rules.fuse_unknown = BoolMember(model, "fuse_unk", false);
  return rules;
}

void WriteSentencePieceRules(const SentencePieceRules& rules, json* root) {
  json normalizer, pre_tokenizer;
  if (!rules.in_normalizer) {
    const char* scheme = rules.prefix == Prefix::kFirst    ? "first"
                         : rules.prefix == Prefix::kAlways ? "always"
                                                           : "never";
    pre_tokenizer = {{"type", "Metaspace"},
                     {"replacement", std::string(kSpaceMark)},
                     {"prepend_scheme", scheme},
                     {"split", rules.split_words}};
  } else if (rules.prefix == Prefix::kAlways) {
    const json prepend = {{"type", "Prepend"}, {"prepend", std::string(kSpaceMark)}};
    normalizer = {{"type", "Sequence"}, {"normalizers", json::array({prepend, Replace(" ", kSpaceMark)})}};
  } else {
    normalizer = Replace(" ", kSpaceMark);
    pre_tokenizer = SplitAtSpaces();
  }
  json decoders = json::array({Replace(kSpaceMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (rules.strip_first_space) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  (*root)["normalizer"] = normalizer;
  (*root)["pre_tokenizer"] = pre_tokenizer;
  (*root)["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
}

}  // namespace lorikeet::text
