#include "tensor/io/json_events.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace lorikeet {

bool JsonEvents::parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) {
  const absl::string_view what = e.what();
  const size_t bracket = what.find("] ");  // the text begins with the library's name and number
  return Fail(
      absl::StrCat("at byte ", position, ": ", bracket == absl::string_view::npos ? what : what.substr(bracket + 2)));
}

absl::Status ParseJsonEvents(absl::string_view text, JsonEvents* handler) {
  // The library takes a NUL for the end of the text and skips a byte order mark.
  if (text.find('\0') != absl::string_view::npos) return absl::InvalidArgumentError("NUL byte in JSON");
  if (absl::StartsWith(text, "\xEF\xBB\xBF")) return absl::InvalidArgumentError("byte order mark before JSON");
  if (nlohmann::json::sax_parse(text.begin(), text.end(), handler)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("JSON: ", handler->message()));
}

}  // namespace lorikeet
