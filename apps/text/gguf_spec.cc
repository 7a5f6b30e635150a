#include "apps/text/gguf_spec.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lorikeet::text {
namespace {

constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

bool IsAdded(int32_t type) { return type == kControl || type == kUserDefined || type == kUnused; }

absl::Status ReadTokens(const GgufTokenizerMetadata& metadata, BpeSpec* spec) {
  if (!metadata.token_type.empty() && metadata.token_type.size() != metadata.tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.token_type has ", metadata.token_type.size(),
                                                   " entries for ", metadata.tokens.size(), " tokens"));
  }
  const auto type = [&](size_t i) { return metadata.token_type.empty() ? kNormal : metadata.token_type[i]; };
  size_t used = metadata.tokens.size();
  while (used > 0 && type(used - 1) == kUnused) --used;
  size_t vocab_size = used;
  while (vocab_size > 0 && IsAdded(type(vocab_size - 1))) --vocab_size;
  spec->vocab.assign(metadata.tokens.begin(), metadata.tokens.begin() + vocab_size);
  for (size_t i = 0; i < used; ++i) {
    if (!IsAdded(type(i))) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(i);
    token.content = metadata.tokens[i];
    token.special = type(i) != kUserDefined;
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
  const bool is_llama3 = spec->pretokenizer == PretokenizerFamily::kLlama3;
  if (metadata.add_bos_token.value_or(is_llama3) && spec->bos_id >= 0) spec->prefix_ids.push_back(spec->bos_id);
  if (metadata.add_eos_token.value_or(false) && spec->eos_id >= 0) spec->suffix_ids.push_back(spec->eos_id);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BpeSpec> TokenizerSpecFromGguf(const GgufTokenizerMetadata& metadata) {
  if (metadata.model != "gpt2") {
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.ggml.model is \"", metadata.model, "\"; only byte-level BPE (\"gpt2\") is supported"));
  }
  const absl::optional<PretokenizerFamily> family = FamilyOfGgufName(metadata.pre);
  if (!family.has_value()) {
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.ggml.pre \"", metadata.pre, "\" is not a known pre-tokenizer"));
  }
  if (metadata.add_space_prefix.value_or(false)) {
    return absl::UnimplementedError("tokenizer.ggml.add_space_prefix is not supported for byte-level BPE");
  }
  BpeSpec spec;
  spec.pretokenizer = *family;
  spec.ignore_merges = *family == PretokenizerFamily::kLlama3;
  const bool is_qwen = *family == PretokenizerFamily::kQwen2 || *family == PretokenizerFamily::kQwen35;
  spec.normalizer = is_qwen ? Normalizer::kNfc : Normalizer::kNone;
  spec.chat_template = metadata.chat_template;
  if (absl::Status s = ReadTokens(metadata, &spec); !s.ok()) return s;
  if (absl::Status s = ReadMerges(metadata, &spec); !s.ok()) return s;
  if (absl::Status s = ReadIds(metadata, &spec); !s.ok()) return s;
  if (absl::Status s = Validate(spec); !s.ok()) return s;
  return spec;
}

}  // namespace lorikeet::text
