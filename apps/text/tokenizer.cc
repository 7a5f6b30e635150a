#include "apps/text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "apps/text/byte_map.h"
#include "apps/text/nfc.h"
#include "apps/text/sentencepiece.h"
#include "apps/text/utf8.h"

namespace lorikeet::text {

absl::StatusOr<Tokenizer> Tokenizer::Create(BpeSpec spec) {
  if (absl::Status status = Validate(spec); !status.ok()) return status;
  return Tokenizer(std::move(spec));
}

Tokenizer::Tokenizer(BpeSpec spec)
    : spec_(std::move(spec)),
      raw_tokens_(MakeMatcher(false)),
      normalized_tokens_(MakeMatcher(true)),
      pretokenizer_(spec_.pretokenizer),
      bpe_(spec_),
      token_bytes_(spec_.num_tokens()),
      is_byte_(spec_.num_tokens(), false),
      is_special_(spec_.num_tokens(), false) {
  const bool sentencepiece = spec_.sentencepiece.has_value();
  for (size_t id = 0; id < spec_.vocab.size(); ++id) {
    const std::string& token = spec_.vocab[id];
    token_bytes_[id] = sentencepiece ? UnmarkSpaces(token) : UnmapToken(token).value_or(token);
    const int byte = sentencepiece ? ByteOfToken(token) : -1;
    if (byte < 0) continue;
    is_byte_[id] = true;
    token_bytes_[id] = std::string(1, static_cast<char>(byte));
  }
  for (const AddedToken& token : spec_.added) {
    is_special_[token.id] = token.special;
    if (is_byte_[token.id]) continue;
    const std::string text = token.normalized ? Normalize(token.content, TextPlace::kStart) : token.content;
    token_bytes_[token.id] = sentencepiece ? UnmarkSpaces(text) : text;
  }
}

std::string Tokenizer::Normalize(absl::string_view text, TextPlace place) const {
  if (spec_.sentencepiece.has_value() && spec_.sentencepiece->in_normalizer) {
    const bool prefix = spec_.sentencepiece->prefix == SentencePieceRules::Prefix::kAlways;
    return absl::StrCat(prefix && place != TextPlace::kInside ? kSpaceMark : "", MarkSpaces(text));
  }
  return spec_.normalizer == Normalizer::kNfc ? NormalizeNfc(text) : std::string(text);
}

// The added tokens that are matched in raw text, or those that are matched in normalized text.
AddedTokenMatcher Tokenizer::MakeMatcher(bool normalized) const {
  std::vector<AddedToken> tokens;
  for (AddedToken token : spec_.added) {
    if (token.normalized != normalized) continue;
    if (normalized) token.content = Normalize(token.content, TextPlace::kStart);
    tokens.push_back(std::move(token));
  }
  return AddedTokenMatcher(std::move(tokens));
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

std::vector<int32_t> Tokenizer::EncodeParts(absl::Span<const TextPart> parts, TextPlace* place) const {
  TextPlace start = TextPlace::kStart;
  if (place == nullptr) place = &start;
  std::vector<int32_t> ids;
  std::string plain;  // text since the last token that was cut out
  bool allow_special = true;
  const auto flush = [&] {
    EncodePlain(plain, allow_special, place, &ids);
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
        *place = TextPlace::kAfterToken;
      }
    }
  }
  flush();
  return ids;
}

void Tokenizer::EncodePlain(absl::string_view text, bool allow_special, TextPlace* place,
                            std::vector<int32_t>* ids) const {
  if (text.empty()) return;
  const std::string normalized = Normalize(text, *place);
  for (const TextSpan& span : normalized_tokens_.Split(normalized, allow_special)) {
    if (span.id >= 0) {
      ids->push_back(span.id);
      *place = TextPlace::kAfterToken;
    } else {
      EncodeWords(span.text, *place, ids);
      *place = TextPlace::kInside;
    }
  }
}

// A stretch as Metaspace leaves it.
std::string Tokenizer::MarkStretch(absl::string_view text, TextPlace place) const {
  using Prefix = SentencePieceRules::Prefix;
  std::string marked = MarkSpaces(text);
  const Prefix prefix = spec_.sentencepiece->prefix;
  const bool wanted =
      prefix == Prefix::kAlways ? place != TextPlace::kInside : prefix == Prefix::kFirst && place == TextPlace::kStart;
  if (wanted && !absl::StartsWith(marked, kSpaceMark)) marked.insert(0, kSpaceMark.data(), kSpaceMark.size());
  return marked;
}

void Tokenizer::EncodeWords(absl::string_view text, TextPlace place, std::vector<int32_t>* ids) const {
  std::vector<absl::string_view> pieces;
  std::string marked;
  if (spec_.sentencepiece.has_value()) {
    if (!spec_.sentencepiece->in_normalizer) text = marked = MarkStretch(text, place);
    spec_.sentencepiece->split_words ? SplitAtMarks(text, &pieces) : pieces.push_back(text);
  } else {
    pretokenizer_.Split(text, &pieces);
  }
  for (const absl::string_view piece : pieces) bpe_.Encode(piece, ids);
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  StreamDecoder decoder(this, skip_special);
  std::string text;
  for (const int32_t id : ids) text += decoder.Push(id);
  return text + decoder.Finish();
}

absl::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= static_cast<int64_t>(token_bytes_.size())) return "";
  return token_bytes_[id];
}

bool Tokenizer::IsByte(int32_t id) const {
  return id >= 0 && id < static_cast<int64_t>(is_byte_.size()) && is_byte_[id];
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < static_cast<int64_t>(is_special_.size()) && is_special_[id];
}

bool Tokenizer::IsStop(int32_t id) const {
  return std::find(spec_.stop_ids.begin(), spec_.stop_ids.end(), id) != spec_.stop_ids.end();
}

StreamDecoder::StreamDecoder(const Tokenizer* tokenizer, bool skip_special)
    : tokenizer_(tokenizer),
      skip_special_(skip_special),
      sentencepiece_(tokenizer->spec().sentencepiece.has_value()),
      strip_space_(sentencepiece_ && tokenizer->spec().sentencepiece->strip_first_space) {}

std::string StreamDecoder::Push(int32_t id) {
  const absl::string_view token = tokenizer_->TokenBytes(id);
  if (token.empty() || (skip_special_ && tokenizer_->IsSpecial(id))) return "";
  if (!sentencepiece_ || tokenizer_->IsByte(id)) {
    pending_.append(token.data(), token.size());
    return sentencepiece_ ? "" : TakePending(pending_.size() - IncompleteUtf8Suffix(pending_));
  }
  return WithoutFirstSpace(absl::StrCat(TakePending(pending_.size()), token));
}

std::string StreamDecoder::Finish() { return WithoutFirstSpace(TakePending(pending_.size())); }

// The text of the first bytes that were held back.
std::string StreamDecoder::TakePending(size_t length) {
  const absl::string_view bytes = absl::string_view(pending_).substr(0, length);
  std::string text = sentencepiece_ ? TextOfBytes(bytes) : ReplaceInvalidUtf8(bytes);
  pending_.erase(0, length);
  return text;
}

std::string StreamDecoder::WithoutFirstSpace(std::string text) {
  if (!strip_space_ || text.empty()) return text;
  strip_space_ = false;
  if (text[0] == ' ') text.erase(0, 1);
  return text;
}

}  // namespace lorikeet::text
