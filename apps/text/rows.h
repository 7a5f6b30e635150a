// One row of training data -> a conversation or running text. The form is recognised by its keys:
//
//   {"text"}                                          running text
//   {"messages": [{"role", "content"}, ...]}          roles system, user, assistant, tool
//   {"conversations": [{"from", "value"}, ...]}       from system, human or user, gpt or assistant
//   {"instruction", "output"[, "input", "system"]}    input follows the instruction after an empty line
//   {"prompt", "completion"}                          one turn
//   {"question", "answer"}                            one turn
//
// Other keys are ignored. A row that is none of these, or a value of another type, is an error that names the keys
// found.
#ifndef LORIKEET_APPS_TEXT_ROWS_H_
#define LORIKEET_APPS_TEXT_ROWS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apps/text/chat_template.h"
#include "nlohmann/json.hpp"

namespace lorikeet::text {

struct Row {
  bool is_text = false;  // running text, in `text`; else a conversation, in `messages`
  std::string text;
  std::vector<Message> messages;
};

absl::StatusOr<Row> ParseRow(const nlohmann::json& value);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_ROWS_H_
