// How a conversation becomes text: the model's chat format, as a few named templates instead of a template language.
//
//   absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(spec, /*name=*/"");   // the model's own
//   std::vector<Segment> segments = chat->Render({{"user", "How many?"}, {"assistant", "4"}});
//
// | name     | a message                                              | before the first                         |
// |----------|--------------------------------------------------------|------------------------------------------|
// | chatml   | <|im_start|>ROLE\nTEXT<|im_end|>\n                     |                                          |
// | smollm2  | as chatml                                              | SmolLM's system message, if there is none |
// | qwen2    | as chatml                                              | "You are a helpful assistant.", if none  |
// | qwen2.5  | as chatml                                              | Qwen's system message, if none           |
// | llama3   | <|start_header_id|>ROLE<|end_header_id|>\n\nTEXT<|eot_id|> (TEXT without outer white space) | BOS |
// | plain    | TEXT and a line end; an answer ends with EOS           | what the tokenizer puts before a text    |
// | raw      | TEXT; an answer ends with EOS                          | what the tokenizer puts before a text    |
//
// plain leaves the line end out where white space already stands on either side of it.
//
// A model's own chat_template (Jinja) is not executed but recognised: the ChatML one-liner with any system message, and
// Llama 3's. No text at all means plain. Anything else is an error that names the flag --chat_template.
//
// Segments carry what the token-level loss mask needs: an answer is the assistant's text with its end marker. Only text
// of the template may name control tokens; what users wrote may not.
#ifndef LORIKEET_APPS_TEXT_CHAT_TEMPLATE_H_
#define LORIKEET_APPS_TEXT_CHAT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "apps/text/bpe_spec.h"

namespace lorikeet::text {

struct Message {
  std::string role;  // "system", "user", "assistant" or "tool"
  std::string content;
};

struct Segment {
  std::string text;
  bool is_answer = false;      // the model is to learn it
  bool allow_special = false;  // it may name control tokens
};

class ChatTemplate {
 public:
  // The named template, or, if name is empty, the one that spec.chat_template is. An error if it is unknown or needs a
  // control token that the tokenizer lacks.
  static absl::StatusOr<ChatTemplate> ForTokenizer(const BpeSpec& spec, absl::string_view name);

  // add_generation_prompt ends with the assistant's header, for a model that is to answer.
  std::vector<Segment> Render(absl::Span<const Message> messages, bool add_generation_prompt = false) const;
  // Running text without turns: BOS by the tokenizer's policy, the text as the answer, EOS.
  std::vector<Segment> RenderText(absl::string_view text) const;

  // The template as Jinja text, for files whose readers execute it; empty for plain and raw, which have no turns.
  std::string Jinja() const;
  bool is_bare() const { return kind_ == Kind::kPlain || kind_ == Kind::kRaw; }

  absl::string_view name() const { return name_; }
  absl::string_view end_of_turn() const { return end_of_turn_; }  // the control token after an answer; may be empty

 private:
  enum class Kind { kChatMl, kLlama3, kPlain, kRaw };

  ChatTemplate() = default;
  static absl::StatusOr<ChatTemplate> FromName(absl::string_view name);
  static absl::StatusOr<ChatTemplate> Recognise(absl::string_view jinja);
  void AppendMessage(const Message& message, std::vector<Segment>* out) const;
  void AppendHeader(absl::string_view role, std::vector<Segment>* out) const;
  void AppendBare(const Message& message, const Message* next, std::vector<Segment>* out) const;
  std::vector<Segment> RenderBare(absl::Span<const Message> messages) const;

  std::string name_;
  Kind kind_ = Kind::kPlain;
  std::string default_system_;
  std::string text_prefix_;  // before running text and bare messages
  std::string bos_, eos_, end_of_turn_;
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_CHAT_TEMPLATE_H_
