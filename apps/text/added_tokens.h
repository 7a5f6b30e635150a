// Finds added tokens ("<|im_end|>") in text: at every position the longest one that begins there, left to right, as the
// reference does. The flags single_word, lstrip and rstrip of AddedToken are honoured.
//
//   for (const TextSpan& span : matcher.Split(text, /*allow_special=*/false)) {
//     span.id >= 0 ? Emit(span.id) : Words(span.text);
//   }
//
// Special tokens are matched but not cut out where they are not allowed: their text stays ordinary text.
// Threads: Split is const and may run in many at once.
#ifndef LORIKEET_APPS_TEXT_ADDED_TOKENS_H_
#define LORIKEET_APPS_TEXT_ADDED_TOKENS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "apps/text/bpe_spec.h"

namespace lorikeet::text {

struct TextSpan {
  absl::string_view text;  // a view into the text that was split
  int32_t id;              // the added token that it is, or -1
};

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // The spans cover the text in order, but for the whitespace overlap of rstrip and lstrip tokens side by side.
  std::vector<TextSpan> Split(absl::string_view text, bool allow_special) const;
  bool empty() const { return tokens_.empty(); }

 private:
  const AddedToken* Longest(absl::string_view text) const;

  std::vector<AddedToken> tokens_;  // sorted by content
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_ADDED_TOKENS_H_
