// The chat formats of models, as functions: what each writes around and between the messages of a conversation. The
// table, with names and the published templates that each stands for, is for chat_template.h to choose from.
//
// Every function gives the text that the model's Jinja template gives in transformers, cut into segments, and the error
// where that raises one (a system message in Gemma's, roles out of turn in Mistral's).
#ifndef LORIKEET_APPS_TEXT_CHAT_FORMATS_H_
#define LORIKEET_APPS_TEXT_CHAT_FORMATS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lorikeet::text {

struct Message {
  std::string role;  // "system", "user", "assistant" or "tool"
  std::string content;
};

struct Segment {
  std::string text;
  bool is_answer = false;      // the model is to learn it
  bool allow_special = false;  // it may name control tokens
  bool before_text = false;    // what the tokenizer puts before a text: the text begins after it
};

// A conversation and what a format needs to know beside it.
struct Conversation {
  absl::Span<const Message> messages;
  bool add_generation_prompt = false;  // end with the header of an answer
  absl::string_view bos, eos;          // the model's
  absl::string_view default_system;    // where there is no system message; empty: none
};

struct ChatFormat {
  const char* name;
  const char* default_system;
  std::vector<const char*> control_tokens;  // that the vocabulary must have
  const char* end_of_turn;                  // the control token after an answer; empty: EOS
  bool is_bare;                             // running text: begins with what the tokenizer puts before a text
  absl::Status (*render)(const Conversation& conversation, std::vector<Segment>* out);
};

// All of them, and the one of a name, or nullptr.
absl::Span<const ChatFormat> ChatFormats();
const ChatFormat* FindChatFormat(absl::string_view name);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_CHAT_FORMATS_H_
