// JSON from untrusted files: nlohmann-json without exceptions and with limits.
//
//   absl::StatusOr<nlohmann::json> config = ParseJson(text);
//
// Refused, with the byte where it was noticed: what RFC 8259 refuses (ill-formed UTF-8 and lone surrogates among it), a
// key that occurs twice in one object, nesting deeper than `max_depth`, numbers out of range. A byte order mark at the
// start is skipped. Memory is proportional to the text.
#ifndef LORIKEET_APPS_TEXT_JSON_H_
#define LORIKEET_APPS_TEXT_JSON_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace lorikeet::text {

inline constexpr int kMaxJsonDepth = 64;

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, int max_depth = kMaxJsonDepth);

// Members of an object: nullptr, or the default, where absent, null, or (the last two) of another type.
const nlohmann::json* Member(const nlohmann::json& object, const char* key);
const std::string* StringMember(const nlohmann::json& object, const char* key);
bool BoolMember(const nlohmann::json& object, const char* key, bool otherwise);

// "a string", "an object", ... for messages.
const char* TypeName(const nlohmann::json& value);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_JSON_H_
