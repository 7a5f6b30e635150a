#include "apps/text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "apps/text/utf8.h"

namespace lorikeet::text {
namespace {

// A character of a word: letters, marks, decimal digits and connectors (UTS #18, annex C).
bool IsWord(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return c == 0x200C || c == 0x200D;
  }
}

// Where the last character of a non-empty text begins.
size_t LastCharacter(absl::string_view text) {
  size_t pos = text.size() - 1;
  while (pos > 0 && (static_cast<uint8_t>(text[pos]) & 0xC0) == 0x80) --pos;
  return pos;
}

bool EndsWithWord(absl::string_view text) {
  return !text.empty() && IsWord(DecodeUtf8(text, LastCharacter(text)).code_point);
}
bool StartsWithWord(absl::string_view text) { return !text.empty() && IsWord(DecodeUtf8(text, 0).code_point); }

size_t TrailingSpace(absl::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t last = LastCharacter(text.substr(0, end));
    if (!IsUnicodeWhitespace(DecodeUtf8(text, last).code_point)) break;
    end = last;
  }
  return text.size() - end;
}

size_t LeadingSpace(absl::string_view text) {
  size_t pos = 0;
  while (pos < text.size()) {
    const Utf8Step step = DecodeUtf8(text, pos);
    if (!IsUnicodeWhitespace(step.code_point)) break;
    pos += step.length;
  }
  return pos;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
}

// Narrows the sorted tokens to those that share one more byte with the text, until none is left.
const AddedToken* AddedTokenMatcher::Longest(absl::string_view text) const {
  const AddedToken* longest = nullptr;
  auto first = tokens_.begin(), last = tokens_.end();
  for (size_t depth = 0; first != last; ++depth) {
    if (first->content.size() == depth) {
      longest = &*first;
      ++first;
    }
    if (depth == text.size()) break;
    const uint8_t want = static_cast<uint8_t>(text[depth]);
    const auto byte = [depth](const AddedToken& t) { return static_cast<uint8_t>(t.content[depth]); };
    first = std::lower_bound(first, last, want, [&](const AddedToken& t, uint8_t b) { return byte(t) < b; });
    last = std::upper_bound(first, last, want, [&](uint8_t b, const AddedToken& t) { return b < byte(t); });
  }
  return longest;
}

std::vector<TextSpan> AddedTokenMatcher::Split(absl::string_view text, bool allow_special) const {
  std::vector<TextSpan> spans;
  size_t done = 0;
  for (size_t pos = 0; pos < text.size() && !tokens_.empty();) {
    const AddedToken* token = Longest(text.substr(pos));
    if (token == nullptr) {
      ++pos;
      continue;
    }
    size_t begin = pos, end = pos + token->content.size();
    pos = end;
    if (token->special && !allow_special) continue;
    if (token->single_word && (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end)))) continue;
    if (token->lstrip) begin = std::max(begin - TrailingSpace(text.substr(0, begin)), done);
    if (token->rstrip) end += LeadingSpace(text.substr(end));
    if (begin > done) spans.push_back({text.substr(done, begin - done), -1});
    spans.push_back({text.substr(begin, end - begin), token->id});
    done = end;
  }
  if (done < text.size()) spans.push_back({text.substr(done), -1});
  return spans;
}

}  // namespace lorikeet::text
