#include "apps/text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/types/optional.h"
#include "apps/text/byte_map.h"
#include "apps/text/nfc.h"
#include "apps/text/utf8.h"

namespace lorikeet::text {
namespace {

std::string Normalize(Normalizer normalizer, absl::string_view text) {
  return normalizer == Normalizer::kNfc ? NormalizeNfc(text) : std::string(text);
}

// The added tokens that are matched in raw text, or those that are matched in normalized text.
AddedTokenMatcher MakeMatcher(const BpeSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : spec.added) {
    if (token.normalized != normalized) continue;
    if (normalized) token.content = Normalize(spec.normalizer, token.content);
    tokens.push_back(std::move(token));
  }
  return AddedTokenMatcher(std::move(tokens));
}

}  // namespace

absl::StatusOr<Tokenizer> Tokenizer::Create(BpeSpec spec) {
  if (absl::Status status = Validate(spec); !status.ok()) return status;
  return Tokenizer(std::move(spec));
}

Tokenizer::Tokenizer(BpeSpec spec)
    : spec_(std::move(spec)),
      raw_tokens_(MakeMatcher(spec_, false)),
      normalized_tokens_(MakeMatcher(spec_, true)),
      pretokenizer_(spec_.pretokenizer),
      bpe_(spec_),
      token_bytes_(spec_.num_tokens()),
      is_special_(spec_.num_tokens(), false) {
  for (size_t id = 0; id < spec_.vocab.size(); ++id) {
    token_bytes_[id] = UnmapToken(spec_.vocab[id]).value_or(spec_.vocab[id]);
  }
  for (const AddedToken& token : spec_.added) {
    token_bytes_[token.id] = token.content;
    is_special_[token.id] = token.special;
  }
}

std::vector<int32_t> Tokenizer::Encode(absl::string_view text, const EncodeOptions& options) const {
  const TextPart part = {text, options.allow_special};
  std::vector<int32_t> ids = EncodeParts(absl::MakeConstSpan(&part, 1));
  if (options.add_prefix_and_suffix) {
    ids.insert(ids.begin(), spec_.prefix_ids.begin(), spec_.prefix_ids.end());
    ids.insert(ids.end(), spec_.suffix_ids.begin(), spec_.suffix_ids.end());
  }
  return ids;
}

std::vector<int32_t> Tokenizer::EncodeParts(absl::Span<const TextPart> parts) const {
  std::vector<int32_t> ids;
  std::string plain;  // text since the last token that was cut out
  bool allow_special = true;
  const auto flush = [&] {
    EncodePlain(plain, allow_special, &ids);
    plain.clear();
    allow_special = true;
  };
  for (const TextPart& part : parts) {
    std::string repaired;
    absl::string_view text = part.text;
    if (!IsValidUtf8(text)) text = repaired = ReplaceInvalidUtf8(text);
    for (const TextSpan& span : raw_tokens_.Split(text, part.allow_special)) {
      if (span.id < 0) {
        plain.append(span.text.data(), span.text.size());
        allow_special = allow_special && part.allow_special;
      } else {
        flush();
        ids.push_back(span.id);
      }
    }
  }
  flush();
  return ids;
}

void Tokenizer::EncodePlain(absl::string_view text, bool allow_special, std::vector<int32_t>* ids) const {
  if (text.empty()) return;
  const std::string normalized = Normalize(spec_.normalizer, text);
  for (const TextSpan& span : normalized_tokens_.Split(normalized, allow_special)) {
    if (span.id >= 0) {
      ids->push_back(span.id);
    } else {
      EncodeWords(span.text, ids);
    }
  }
}

void Tokenizer::EncodeWords(absl::string_view text, std::vector<int32_t>* ids) const {
  std::vector<absl::string_view> pieces;
  pretokenizer_.Split(text, &pieces);
  for (const absl::string_view piece : pieces) bpe_.Encode(piece, ids);
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (skip_special && IsSpecial(id)) continue;
    const absl::string_view token = TokenBytes(id);
    bytes.append(token.data(), token.size());
  }
  return ReplaceInvalidUtf8(bytes);
}

absl::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= static_cast<int64_t>(token_bytes_.size())) return "";
  return token_bytes_[id];
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < static_cast<int64_t>(is_special_.size()) && is_special_[id];
}

bool Tokenizer::IsStop(int32_t id) const {
  return std::find(spec_.stop_ids.begin(), spec_.stop_ids.end(), id) != spec_.stop_ids.end();
}

std::string StreamDecoder::Push(int32_t id) {
  if (skip_special_ && tokenizer_->IsSpecial(id)) return "";
  const absl::string_view token = tokenizer_->TokenBytes(id);
  pending_.append(token.data(), token.size());
  const size_t whole = pending_.size() - IncompleteUtf8Suffix(pending_);
  std::string text = ReplaceInvalidUtf8(absl::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace lorikeet::text
