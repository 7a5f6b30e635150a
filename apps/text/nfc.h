// Unicode normalization form C (UAX #15), as Hugging Face's tokenizers apply it: "e" + U+0301 becomes U+00E9.
// The tables are utf8proc's, less some 120 characters of later Unicode versions that the reference leaves as they are.
// O(n log n) for any input, runs of combining marks included. The text must be valid UTF-8.
#ifndef LORIKEET_APPS_TEXT_NFC_H_
#define LORIKEET_APPS_TEXT_NFC_H_

#include <string>

#include "absl/strings/string_view.h"

namespace lorikeet::text {

std::string NormalizeNfc(absl::string_view text);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_NFC_H_
