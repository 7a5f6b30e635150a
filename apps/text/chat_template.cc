#include "apps/text/chat_template.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace lorikeet::text {
namespace {

// A published template text. tests/golden/make_chat_templates.py computes the digests, of the text as Canonical has it.
struct KnownText {
  uint64_t digest;
  const char* format;
  const char* default_system;  // nullptr: the format's
};

constexpr KnownText kKnownTexts[] = {
    {0x6daf6706ed25369f, "qwen2.5", nullptr},
    {0x7a781ea711d55ccf, "qwen2.5", "You are a helpful assistant."},  // of the base models
    {0x46ec9ad61aceaac6, "qwen3", nullptr},
    {0x32844fd43eab01d2, "llama3", nullptr},
    {0x60b6f54caafc7e66, "llama3", nullptr},  // as first published: with the header of an answer always
    {0xf40c1ff232da9cc3, "llama3", nullptr},  // sets add_generation_prompt where it is missing
    {0x66031642dd695b34, "llama3.1", nullptr},
    {0x8b507965dc5e683c, "llama3.1", nullptr},  // Llama 3.2's
    {0xf344eecf1bd3a427, "llama2", nullptr},
    {0x8c734b90b4f8d84d, "mistral-v0.1", nullptr},
    {0xa9c7cb0712fff8c7, "mistral-v0.2", nullptr},
    {0x11d81558f7ecbb0b, "mistral-v0.3", nullptr},
    {0x92c45a3c360c497f, "mistral-nemo", nullptr},
    {0x70f3cded3fb90051, "gemma", nullptr},
    {0xd3ecfef261721b2f, "gemma3", nullptr},
    {0xebc826f08cf92eab, "phi3-mini", nullptr},
    {0x95fa28927d49ef90, "phi3", nullptr},
    {0x3268de61762f7142, "zephyr", nullptr},
};

// Texts differ in whether a line end inside a string is one or the two characters \n, and in what a file's editor did.
std::string Canonical(absl::string_view jinja) {
  return absl::StrReplaceAll(absl::StripAsciiWhitespace(jinja), {{"\r\n", R"(\n)"}, {"\n", R"(\n)"}});
}

// FNV-1a.
uint64_t Digest(absl::string_view text) {
  uint64_t h = 0xcbf29ce484222325;
  for (const char c : text) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return h;
}

const KnownText* FindKnownText(absl::string_view canonical) {
  const uint64_t digest = Digest(canonical);
  for (const KnownText& known : kKnownTexts) {
    if (known.digest == digest) return &known;
  }
  return nullptr;
}

// The ChatML one-liner, with line ends as the two characters \n.
constexpr char kChatMlBegin[] = "{% for message in messages %}";
constexpr char kChatMlSystemBegin[] =
    R"({% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n)";
constexpr char kChatMlSystemEnd[] = R"(<|im_end|>\n' }}{% endif %})";
constexpr char kChatMlEnd[] =
    R"({{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %})"
    R"({% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";
constexpr char kLlama3[] =
    R"({% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>')"
    R"( + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %})"
    R"({% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %})"
    R"({% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})";

// Takes the one-liner's default system message out of it; false where the text is another.
bool ConsumeChatMl(absl::string_view text, absl::string_view* default_system) {
  if (!absl::ConsumePrefix(&text, kChatMlBegin) || !absl::ConsumeSuffix(&text, kChatMlEnd)) return false;
  *default_system = text;
  if (text.empty()) return true;
  return absl::ConsumePrefix(default_system, kChatMlSystemBegin) &&
         absl::ConsumeSuffix(default_system, kChatMlSystemEnd) &&
         default_system->find_first_of("'\\{}") == absl::string_view::npos;
}

std::string Choices() {
  return absl::StrJoin(ChatFormats(), ", ",
                       [](std::string* out, const ChatFormat& format) { absl::StrAppend(out, format.name); });
}

bool HasToken(const BpeSpec& spec, absl::string_view content) {
  return std::any_of(spec.added.begin(), spec.added.end(), [&](const AddedToken& t) { return t.content == content; });
}

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::FromName(absl::string_view name) {
  if (const ChatFormat* format = FindChatFormat(name)) return ChatTemplate(format, format->default_system);
  return absl::InvalidArgumentError(absl::StrCat("--chat_template=", name, " is unknown; known are ", Choices()));
}

absl::StatusOr<ChatTemplate> ChatTemplate::Recognise(const BpeSpec& spec) {
  const std::string text = Canonical(spec.chat_template);
  if (text.empty()) return FromName("plain");
  absl::string_view system;
  if (ConsumeChatMl(text, &system)) {
    for (const char* name : {"chatml", "smollm2", "qwen2"}) {
      if (system == FindChatFormat(name)->default_system) return FromName(name);
    }
    return ChatTemplate(FindChatFormat("chatml"), system);
  }
  if (const KnownText* known = FindKnownText(text)) {
    const ChatFormat* format = FindChatFormat(known->format);
    return ChatTemplate(format, known->default_system != nullptr ? known->default_system : format->default_system);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the model's chat template", spec.chat_template_source.empty() ? "" : " in ", spec.chat_template_source,
      " is not one that this program knows; choose with --chat_template one of ", Choices(),
      ". It begins: ", text.substr(0, 160)));
}

absl::StatusOr<ChatTemplate> ChatTemplate::ForTokenizer(const BpeSpec& spec, absl::string_view name) {
  absl::StatusOr<ChatTemplate> chat = name.empty() ? Recognise(spec) : FromName(name);
  if (!chat.ok()) return chat;
  chat->bos_ = std::string(spec.TokenText(spec.bos_id));
  chat->eos_ = std::string(spec.TokenText(spec.eos_id));
  for (const int32_t id : spec.prefix_ids) absl::StrAppend(&chat->text_prefix_, spec.TokenText(id));
  for (const char* token : chat->format_->control_tokens) {
    if (!HasToken(spec, token)) {
      return absl::InvalidArgumentError(absl::StrCat("chat template ", chat->name(), " needs the token ", token,
                                                     ", which this tokenizer lacks; --chat_template=plain needs none"));
    }
  }
  const absl::string_view end = chat->format_->end_of_turn;
  chat->end_of_turn_ = end.empty() ? chat->eos_ : std::string(end);
  return chat;
}

absl::StatusOr<std::vector<Segment>> ChatTemplate::Render(absl::Span<const Message> messages,
                                                          bool add_generation_prompt) const {
  std::vector<Segment> out;
  if (format_->is_bare) out.push_back({text_prefix_, false, true, true});
  const absl::Status status = format_->render({messages, add_generation_prompt, bos_, eos_, default_system_}, &out);
  if (!status.ok()) {
    return absl::Status(status.code(), absl::StrCat("chat template ", name(), ": ", status.message()));
  }
  return out;
}

absl::StatusOr<std::string> ChatTemplate::Jinja() const {
  if (is_bare()) return std::string();
  if (format_ == FindChatFormat("llama3")) return std::string(kLlama3);
  if (format_->render == FindChatFormat("chatml")->render) {
    if (default_system_.empty()) return absl::StrCat(kChatMlBegin, kChatMlEnd);
    return absl::StrCat(kChatMlBegin, kChatMlSystemBegin, default_system_, kChatMlSystemEnd, kChatMlEnd);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the text of chat template ", name(), " is not known here; it has to be the model's own"));
}

std::vector<Segment> ChatTemplate::RenderText(absl::string_view text) const {
  return {{text_prefix_, false, true, true}, {std::string(text), true, false}, {eos_, true, true}};
}

}  // namespace lorikeet::text
