#include "apps/text/rows.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "apps/text/json.h"

namespace lorikeet::text {
namespace {

using nlohmann::json;

constexpr char kForms[] =
    "{text}, {messages}, {conversations}, {instruction, output}, {prompt, completion} or {question, answer}";

absl::Status Error(absl::string_view message) { return absl::InvalidArgumentError(message); }

// The string under a key that must be there.
absl::StatusOr<std::string> Required(const json& object, const char* key) {
  const json* member = Member(object, key);
  if (member == nullptr) return Error(absl::StrCat("\"", key, "\" is missing"));
  const std::string* text = member->get_ptr<const json::string_t*>();
  if (text == nullptr) return Error(absl::StrCat("\"", key, "\" is ", TypeName(*member), ", expected a string"));
  return *text;
}

// The string under a key that may be absent or null.
absl::StatusOr<std::string> Optional(const json& object, const char* key) {
  return Member(object, key) == nullptr ? std::string() : Required(object, key);
}

absl::StatusOr<std::string> CanonicalRole(const std::string& role) {
  if (role == "system" || role == "user" || role == "assistant" || role == "tool") return role;
  if (role == "human") return std::string("user");
  if (role == "gpt") return std::string("assistant");
  return Error(
      absl::StrCat("role \"", role, "\" is unknown; known are system, user (human), assistant (gpt) and tool"));
}

absl::StatusOr<Row> ParseTurns(const json& turns, const char* list, const char* role_key, const char* text_key) {
  if (!turns.is_array()) return Error(absl::StrCat("\"", list, "\" is ", TypeName(turns), ", expected an array"));
  Row row;
  for (size_t i = 0; i < turns.size(); ++i) {
    const auto in_turn = [&](const absl::Status& status) {
      return Error(absl::StrCat("\"", list, "\"[", i, "]: ", status.message()));
    };
    const absl::StatusOr<std::string> name = Required(turns[i], role_key);
    if (!name.ok()) return in_turn(name.status());
    const absl::StatusOr<std::string> role = CanonicalRole(*name);
    if (!role.ok()) return in_turn(role.status());
    const absl::StatusOr<std::string> text = Required(turns[i], text_key);
    if (!text.ok()) return in_turn(text.status());
    row.messages.push_back({*role, *text});
  }
  return row;
}

absl::StatusOr<Row> ParsePair(const json& value, const char* prompt_key, const char* answer_key) {
  const absl::StatusOr<std::string> prompt = Required(value, prompt_key);
  if (!prompt.ok()) return prompt.status();
  const absl::StatusOr<std::string> answer = Required(value, answer_key);
  if (!answer.ok()) return answer.status();
  Row row;
  row.messages = {{"user", *prompt}, {"assistant", *answer}};
  return row;
}

absl::StatusOr<Row> ParseInstruction(const json& value) {
  absl::StatusOr<Row> row = ParsePair(value, "instruction", "output");
  if (!row.ok()) return row;
  const absl::StatusOr<std::string> input = Optional(value, "input"), system = Optional(value, "system");
  if (!input.ok()) return input.status();
  if (!system.ok()) return system.status();
  if (!input->empty()) absl::StrAppend(&row->messages[0].content, "\n\n", *input);
  if (!system->empty()) row->messages.insert(row->messages.begin(), {"system", *system});
  return row;
}

std::string KeysOf(const json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, unused] : object.items()) {
    if (keys.size() == 12) {
      keys.push_back("...");
      break;
    }
    keys.push_back(key.substr(0, 40));
  }
  return absl::StrJoin(keys, ", ");
}

}  // namespace

absl::StatusOr<Row> ParseRow(const json& value) {
  if (!value.is_object()) return Error(absl::StrCat("the row is ", TypeName(value), ", expected an object"));
  const auto has = [&](const char* key) { return Member(value, key) != nullptr; };
  if (has("messages")) return ParseTurns(*Member(value, "messages"), "messages", "role", "content");
  if (has("conversations")) return ParseTurns(*Member(value, "conversations"), "conversations", "from", "value");
  if (has("instruction") && has("output")) return ParseInstruction(value);
  if (has("prompt") && has("completion")) return ParsePair(value, "prompt", "completion");
  if (has("question") && has("answer")) return ParsePair(value, "question", "answer");
  if (has("text")) {
    absl::StatusOr<std::string> text = Required(value, "text");
    if (!text.ok()) return text.status();
    Row row;
    row.is_text = true;
    row.text = *std::move(text);
    return row;
  }
  return Error(absl::StrCat("the row has the keys {", KeysOf(value), "}; expected ", kForms));
}

}  // namespace lorikeet::text
