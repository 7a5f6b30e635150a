#include "apps/text/gguf_spec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/text/sentencepiece.h"

namespace lorikeet::text {
namespace {

constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;

int32_t TypeOf(const GgufTokenizerMetadata& metadata, size_t id) {
  return metadata.token_type.empty() ? kNormal : metadata.token_type[id];
}

bool IsSentencePiece(const GgufTokenizerMetadata& metadata) {
  return metadata.model == "llama" || metadata.model == "gemma4";
}

bool IsGemma(const GgufTokenizerMetadata& metadata) { return absl::StartsWith(metadata.architecture, "gemma"); }

// Gemma's tokens of several spaces, "▁▁" and so on once they are respelled. Merges put them together, as transformers
// has it, although the file calls them user defined.
bool IsRunOfSpaces(absl::string_view token) {
  return !token.empty() && UnmarkSpaces(token).find_first_not_of(' ') == std::string::npos;
}

// Whether the text of a token becomes it at once. SentencePiece's unknown token does, so that plain text never does.
bool IsAdded(const GgufTokenizerMetadata& metadata, size_t id) {
  const int32_t type = TypeOf(metadata, id);
  if (type == kUserDefined && IsGemma(metadata) && IsRunOfSpaces(metadata.tokens[id])) return false;
  return type == kControl || type == kUserDefined || type == kUnused || (type == kUnknown && IsSentencePiece(metadata));
}

absl::Status ReadTokens(const GgufTokenizerMetadata& metadata, BpeSpec* spec) {
  if (!metadata.token_type.empty() && metadata.token_type.size() != metadata.tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.token_type has ", metadata.token_type.size(),
                                                   " entries for ", metadata.tokens.size(), " tokens"));
  }
  size_t used = metadata.tokens.size();
  while (used > 0 && TypeOf(metadata, used - 1) == kUnused) --used;
  size_t vocab_size = used;
  while (vocab_size > 0 && IsAdded(metadata, vocab_size - 1)) --vocab_size;
  spec->vocab.assign(metadata.tokens.begin(), metadata.tokens.begin() + vocab_size);
  for (size_t i = 0; i < used; ++i) {
    if (!IsAdded(metadata, i)) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(i);
    token.content = metadata.tokens[i];
    token.special = TypeOf(metadata, i) != kUserDefined;
    spec->added.push_back(token);
  }
  spec->padded_vocab_size = static_cast<int64_t>(metadata.tokens.size());
  return absl::OkStatus();
}

absl::Status ReadMerges(const GgufTokenizerMetadata& metadata, BpeSpec* spec) {
  absl::StatusOr<VocabIndex> index = IndexVocab(spec->vocab);
  if (!index.ok()) return index.status();
  for (const absl::string_view line : metadata.merges) {
    const size_t space = line.find(' ');
    if (space == absl::string_view::npos || line.find(' ', space + 1) != absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.merges: \"", line, "\" is not \"a b\""));
    }
    absl::StatusOr<Merge> merge = ResolveMerge(*index, line.substr(0, space), line.substr(space + 1));
    if (!merge.ok())
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.merges: ", merge.status().message()));
    spec->merges.push_back(*merge);
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> ToId(absl::string_view key, const absl::optional<int64_t>& value, const BpeSpec& spec) {
  if (!value.has_value()) return -1;
  if (*value >= 0 && *value < spec.num_tokens()) return static_cast<int32_t>(*value);
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.ggml.", key, " is ", *value, ", but there are ", spec.num_tokens(), " tokens"));
}

absl::Status ReadIds(const GgufTokenizerMetadata& metadata, BpeSpec* spec) {
  int32_t eot_id = -1, eom_id = -1;
  struct Entry {
    const char* key;
    absl::optional<int64_t> value;
    int32_t* id;
  };
  for (const Entry& entry :
       {Entry{"bos_token_id", metadata.bos_token_id, &spec->bos_id},
        Entry{"eos_token_id", metadata.eos_token_id, &spec->eos_id},
        Entry{"eot_token_id", metadata.eot_token_id, &eot_id}, Entry{"eom_token_id", metadata.eom_token_id, &eom_id},
        Entry{"unknown_token_id", metadata.unknown_token_id, &spec->unk_id},
        Entry{"padding_token_id", metadata.padding_token_id, &spec->pad_id}}) {
    absl::StatusOr<int32_t> id = ToId(entry.key, entry.value, *spec);
    if (!id.ok()) return id.status();
    *entry.id = *id;
  }
  for (const int32_t id : {spec->eos_id, eot_id, eom_id}) {
    const bool known = std::find(spec->stop_ids.begin(), spec->stop_ids.end(), id) != spec->stop_ids.end();
    if (id >= 0 && !known) spec->stop_ids.push_back(id);
  }
  const bool has_bos = spec->sentencepiece.has_value() || GgufNameSaysIgnoreMerges(spec->pretokenizer);
  if (metadata.add_bos_token.value_or(has_bos) && spec->bos_id >= 0) spec->prefix_ids.push_back(spec->bos_id);
  if (metadata.add_eos_token.value_or(false) && spec->eos_id >= 0) spec->suffix_ids.push_back(spec->eos_id);
  return absl::OkStatus();
}

absl::Status ReadByteLevel(const GgufTokenizerMetadata& metadata, BpeSpec* spec) {
  const absl::optional<PretokenizerFamily> family = FamilyOfGgufName(metadata.pre);
  if (!family.has_value()) {
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.ggml.pre \"", metadata.pre, "\" is not a known pre-tokenizer"));
  }
  if (metadata.add_space_prefix.value_or(false)) {
    return absl::UnimplementedError("tokenizer.ggml.add_space_prefix is not supported for byte-level BPE");
  }
  spec->pretokenizer = *family;
  spec->ignore_merges = GgufNameSaysIgnoreMerges(*family);
  const bool is_qwen = *family == PretokenizerFamily::kQwen2 || *family == PretokenizerFamily::kQwen35;
  spec->normalizer = is_qwen ? Normalizer::kNfc : Normalizer::kNone;
  if (absl::Status s = ReadTokens(metadata, spec); !s.ok()) return s;
  return ReadMerges(metadata, spec);
}

SentencePieceRules RulesFor(const GgufTokenizerMetadata& metadata) {
  using Prefix = SentencePieceRules::Prefix;
  SentencePieceRules rules;
  rules.in_normalizer = true;
  rules.prefix = metadata.add_space_prefix.value_or(!IsGemma(metadata)) ? Prefix::kAlways : Prefix::kNever;
  rules.strip_first_space = rules.prefix != Prefix::kNever;
  return rules;
}

absl::Status CheckByteTokens(const GgufTokenizerMetadata& metadata) {
  for (size_t id = 0; id < metadata.tokens.size(); ++id) {
    const int byte = ByteOfToken(metadata.tokens[id]);
    if (TypeOf(metadata, id) != kByte || (byte >= 0 && metadata.tokens[id] == ByteToken(static_cast<uint8_t>(byte)))) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.tokens: token ", id, " is of type byte, but \"",
                                                   metadata.tokens[id], "\" is not \"<0x00>\" to \"<0xFF>\""));
  }
  return absl::OkStatus();
}

// Runs of spaces among Gemma's tokens are spelled as spaces, of which normalized text has none.
std::string Respelled(const std::string& token) { return IsRunOfSpaces(token) ? MarkSpaces(token) : token; }

// Gemma's scores do not follow the order in which its merges were learned; its tokens do.
std::vector<double> MergeScores(const GgufTokenizerMetadata& metadata, size_t count) {
  if (!IsGemma(metadata)) return {metadata.scores.begin(), metadata.scores.begin() + count};
  std::vector<double> scores(count);
  for (size_t id = 0; id < count; ++id) scores[id] = -static_cast<double>(id);
  return scores;
}

absl::Status ReadSentencePiece(GgufTokenizerMetadata metadata, BpeSpec* spec) {
  spec->sentencepiece = RulesFor(metadata);
  if (IsGemma(metadata)) {
    for (std::string& token : metadata.tokens) token = Respelled(token);
  }
  if (absl::Status s = ReadTokens(metadata, spec); !s.ok()) return s;
  if (absl::Status s = CheckByteTokens(metadata); !s.ok()) return s;
  for (size_t id = 0; id < spec->vocab.size(); ++id) {
    if (TypeOf(metadata, id) == kUnknown) spec->sentencepiece->unknown_id = static_cast<int32_t>(id);
  }
  if (!metadata.merges.empty()) return ReadMerges(metadata, spec);
  if (metadata.scores.size() != metadata.tokens.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.scores has ", metadata.scores.size(), " entries for ", metadata.tokens.size(),
                     " tokens; without tokenizer.ggml.merges there must be one for each"));
  }
  absl::StatusOr<std::vector<Merge>> merges = MergesByScore(spec->vocab, MergeScores(metadata, spec->vocab.size()));
  if (!merges.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.tokens and scores: ", merges.status().message()));
  }
  spec->merges = *std::move(merges);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BpeSpec> TokenizerSpecFromGguf(const GgufTokenizerMetadata& metadata) {
  if (metadata.model != "gpt2" && !IsSentencePiece(metadata)) {
    return absl::UnimplementedError(absl::StrCat("tokenizer.ggml.model is \"", metadata.model,
                                                 "\"; known are \"gpt2\" (byte-level BPE), \"llama\""
                                                 " and \"gemma4\" (SentencePiece)"));
  }
  BpeSpec spec;
  spec.chat_template = metadata.chat_template;
  spec.chat_template_source = "tokenizer.chat_template";
  absl::Status read = metadata.model == "gpt2" ? ReadByteLevel(metadata, &spec) : ReadSentencePiece(metadata, &spec);
  if (!read.ok()) return read;
  if (absl::Status s = ReadIds(metadata, &spec); !s.ok()) return s;
  if (absl::Status s = Validate(spec); !s.ok()) return s;
  return spec;
}

}  // namespace lorikeet::text
