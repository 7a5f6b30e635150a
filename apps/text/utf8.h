// UTF-8: decoding with a defined answer for every byte string.
//
//   ReplaceInvalidUtf8("a\xff") == "a\xEF\xBF\xBD"        // U+FFFD
//
// An ill-formed stretch is cut into maximal subparts (Unicode 15, section 3.9, table 3-7), each of which becomes one
// U+FFFD: the same answer as Rust's from_utf8_lossy and Python's errors="replace". Surrogates are ill-formed.
#ifndef LORIKEET_APPS_TEXT_UTF8_H_
#define LORIKEET_APPS_TEXT_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace lorikeet::text {

struct Utf8Step {
  char32_t code_point;  // U+FFFD where ill-formed
  int length;           // bytes consumed, at least 1
  bool valid;
  bool truncated;  // ill-formed only because the text ends here
};

// The character, or the maximal ill-formed subpart, that begins at text[pos]. pos < text.size().
Utf8Step DecodeUtf8(absl::string_view text, size_t pos);

void AppendUtf8(char32_t code_point, std::string* out);
bool IsValidUtf8(absl::string_view text);
std::string ReplaceInvalidUtf8(absl::string_view text);

// How many bytes at the end of text may yet become one character when more bytes follow: 0 to 3.
size_t IncompleteUtf8Suffix(absl::string_view text);

// Unicode's White_Space property (stable since Unicode 6.3).
bool IsUnicodeWhitespace(char32_t c);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_UTF8_H_
