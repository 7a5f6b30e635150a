// How a conversation becomes text: the model's chat format, as a few named formats instead of a template language.
//
//   absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(spec, /*name=*/"");   // the model's own
//   absl::StatusOr<std::vector<Segment>> text = chat->Render({{"user", "How many?"}, {"assistant", "4"}});
//
// | name           | a user's turn and an answer                                    | a system message     |
// |----------------|----------------------------------------------------------------|----------------------|
// | chatml         | <|im_start|>ROLE\nTEXT<|im_end|>\n                             | is a message         |
// | smollm2, qwen2 | as chatml                                                      | theirs, if none      |
// | qwen2.5        | as chatml; what tools say is a user's                          | theirs, if none      |
// | qwen3          | as qwen2.5; <think>\n...\n</think>\n\n before the last         | is a message         |
// | qwen3-no-think | as qwen3; an empty thought belongs to the prompt               | is a message         |
// | llama3         | <|start_header_id|>ROLE<|end_header_id|>\n\nTEXT<|eot_id|> [1] | is a message         |
// | llama3.1       | as llama3; Llama 3.2's and 3.3's too [1]                       | always one [2]       |
// | llama2         | BOS[INST] TEXT [/INST]   ' TEXT 'EOS [1]                       | in the first turn    |
// | mistral-v0.1   | '[INST] TEXT [/INST]'    TEXT EOS                              | an error             |
// | mistral-v0.2   | ' [INST] TEXT [/INST]'   ' TEXT'EOS                            | in the first turn    |
// | mistral-v0.3   | '[INST] TEXT[/INST]'     ' TEXT'EOS, answers trimmed           | in the last turn [3] |
// | mistral-nemo   | [INST]TEXT[/INST]        TEXT EOS                              | in the last turn [3] |
// | gemma          | <start_of_turn>ROLE\nTEXT<end_of_turn>\n [1]                   | an error             |
// | gemma3         | as gemma                                                       | in the first turn    |
// | phi3-mini      | <|user|>\nTEXT<|end|>\n<|assistant|>\n   TEXT<|end|>\n         | is left out          |
// | phi3           | <|ROLE|>\nTEXT<|end|>\n; EOS behind the last                   | is a message         |
// | zephyr         | <|ROLE|>\nTEXT EOS\n (TinyLlama)                               | is a message         |
// | plain          | TEXT and a line end; an answer ends with EOS                   | is text              |
// | raw            | TEXT; an answer ends with EOS                                  | is text              |
//
// [1] TEXT without outer white space. [2] It begins with the date 26 Jul 2024, to which the template falls back where
// it cannot ask for today's, so that a run means the same on every day. [3] Where that is the user's; otherwise
// nowhere. "TEXT EOS" has no space before EOS. plain leaves the line end out where white space already stands on either
// side of it; plain and raw begin with what the tokenizer puts before a text. The others begin with BOS where the
// model's own template writes it, and never with a second; llama2 writes it before every turn of the user.
//
// A model's own chat_template (Jinja) is not executed but recognised, by its whole text; the ChatML one-liner with any
// system message. No text at all means plain. Anything else is an error that names the flag --chat_template.
//
// Segments carry what the token-level loss mask needs: an answer is what the model would have written after the
// generation prompt, its end marker included. Only text of the template may name control tokens; what users wrote may
// not.
#ifndef LORIKEET_APPS_TEXT_CHAT_TEMPLATE_H_
#define LORIKEET_APPS_TEXT_CHAT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/chat_formats.h"

namespace lorikeet::text {

class ChatTemplate {
 public:
  // The named template, or, if name is empty, the one that spec.chat_template is. An error if it is unknown or needs a
  // control token that the tokenizer lacks.
  static absl::StatusOr<ChatTemplate> ForTokenizer(const BpeSpec& spec, absl::string_view name);

  // add_generation_prompt ends with the assistant's header, for a model that is to answer. An error where the format
  // has no place for a message: a system message in Gemma's, roles out of turn in Mistral's.
  absl::StatusOr<std::vector<Segment>> Render(absl::Span<const Message> messages,
                                              bool add_generation_prompt = false) const;
  // Running text without turns: BOS by the tokenizer's policy, the text as the answer, EOS.
  std::vector<Segment> RenderText(absl::string_view text) const;

  // The template as Jinja text, for files whose readers execute it; empty for plain and raw, which have no turns.
  // InvalidArgument for formats whose text only a model's own file has.
  absl::StatusOr<std::string> Jinja() const;
  bool is_bare() const { return format_->is_bare; }
  bool IsSameAs(const ChatTemplate& other) const {
    return format_ == other.format_ && default_system_ == other.default_system_;
  }

  absl::string_view name() const { return format_->name; }
  absl::string_view end_of_turn() const { return end_of_turn_; }  // the control token after an answer; may be empty

 private:
  ChatTemplate(const ChatFormat* format, absl::string_view default_system)
      : format_(format), default_system_(default_system) {}
  static absl::StatusOr<ChatTemplate> FromName(absl::string_view name);
  static absl::StatusOr<ChatTemplate> Recognise(const BpeSpec& spec);

  const ChatFormat* format_;
  std::string default_system_;
  std::string text_prefix_;  // before running text and bare messages
  std::string bos_, eos_, end_of_turn_;
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_CHAT_TEMPLATE_H_
