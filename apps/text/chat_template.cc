#include "apps/text/chat_template.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "apps/text/utf8.h"

namespace lorikeet::text {
namespace {

constexpr char kChoices[] = "chatml, smollm2, qwen2, qwen2.5, llama3, plain, raw";
constexpr char kSmolLm2System[] = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
constexpr char kQwen2System[] = "You are a helpful assistant.";
constexpr char kQwen25System[] = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

// The published one-liners, with line ends as the two characters \n.
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
    R"({% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %})";
constexpr char kLlama3Prompt[] = R"({{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }})";
constexpr char kLlama3PromptIfAsked[] =
    R"({% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})";

// Python's str.strip, which Jinja's trim is.
bool IsStripped(char32_t c) { return IsUnicodeWhitespace(c) || (c >= 0x1C && c <= 0x1F); }

std::string Trim(absl::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    if (!IsStripped(step.code_point)) {
      begin = std::min(begin, pos);
      end = pos + step.length;
    }
    pos += step.length;
  }
  return begin < end ? std::string(text.substr(begin, end - begin)) : std::string();
}

bool EndsWithSpace(absl::string_view text) { return !text.empty() && absl::ascii_isspace(text.back()); }
bool BeginsWithSpace(absl::string_view text) { return !text.empty() && absl::ascii_isspace(text.front()); }

bool HasToken(const BpeSpec& spec, absl::string_view content) {
  return std::any_of(spec.added.begin(), spec.added.end(), [&](const AddedToken& t) { return t.content == content; });
}

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::FromName(absl::string_view name) {
  ChatTemplate t;
  t.name_ = std::string(name);
  if (name == "chatml") {
    t.kind_ = Kind::kChatMl;
  } else if (name == "smollm2" || name == "qwen2" || name == "qwen2.5") {
    t.kind_ = Kind::kChatMl;
    t.default_system_ = name == "smollm2" ? kSmolLm2System : name == "qwen2" ? kQwen2System : kQwen25System;
  } else if (name == "llama3") {
    t.kind_ = Kind::kLlama3;
  } else if (name == "raw") {
    t.kind_ = Kind::kRaw;
  } else if (name != "plain") {
    return absl::InvalidArgumentError(absl::StrCat("--chat_template=", name, " is unknown; known are ", kChoices));
  }
  return t;
}

absl::StatusOr<ChatTemplate> ChatTemplate::Recognise(absl::string_view jinja) {
  const std::string text = absl::StrReplaceAll(absl::StripAsciiWhitespace(jinja), {{"\n", R"(\n)"}});
  const auto is_llama3 = [&](absl::string_view tail) {
    return text == absl::StrCat(kLlama3, tail) ||
           text ==
               absl::StrCat(
                   "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}",
                   kLlama3, tail);
  };
  if (text.empty()) return FromName("plain");
  if (is_llama3(kLlama3Prompt) || is_llama3(kLlama3PromptIfAsked)) {
    return FromName("llama3");
  }
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, kChatMlBegin) && absl::ConsumeSuffix(&rest, kChatMlEnd)) {
    if (rest.empty()) return FromName("chatml");
    const bool has_system =
        absl::ConsumePrefix(&rest, kChatMlSystemBegin) && absl::ConsumeSuffix(&rest, kChatMlSystemEnd);
    if (has_system && rest.find_first_of("'\\{}") == absl::string_view::npos) {
      absl::StatusOr<ChatTemplate> chat = FromName(rest == kSmolLm2System ? "smollm2" : "chatml");
      if (chat.ok()) chat->default_system_ = std::string(rest);
      return chat;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the model's chat_template is not one that this program knows; choose with"
                   " --chat_template one of ",
                   kChoices, ". It begins: ", text.substr(0, 160)));
}

absl::StatusOr<ChatTemplate> ChatTemplate::ForTokenizer(const BpeSpec& spec, absl::string_view name) {
  absl::StatusOr<ChatTemplate> chat = name.empty() ? Recognise(spec.chat_template) : FromName(name);
  if (!chat.ok()) return chat;
  chat->bos_ = std::string(spec.TokenText(spec.bos_id));
  chat->eos_ = std::string(spec.TokenText(spec.eos_id));
  for (const int32_t id : spec.prefix_ids) absl::StrAppend(&chat->text_prefix_, spec.TokenText(id));
  std::vector<std::string> needed;
  if (chat->kind_ == Kind::kChatMl) needed = {"<|im_start|>", "<|im_end|>"};
  if (chat->kind_ == Kind::kLlama3) needed = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"};
  for (const std::string& token : needed) {
    if (!HasToken(spec, token)) {
      return absl::InvalidArgumentError(absl::StrCat("chat template ", chat->name_, " needs the token ", token,
                                                     ", which this tokenizer lacks; --chat_template=plain needs none"));
    }
  }
  chat->end_of_turn_ = needed.empty() ? chat->eos_ : needed.back();
  return chat;
}

void ChatTemplate::AppendHeader(absl::string_view role, std::vector<Segment>* out) const {
  const std::string header = kind_ == Kind::kChatMl
                                 ? absl::StrCat("<|im_start|>", role, "\n")
                                 : absl::StrCat("<|start_header_id|>", role, "<|end_header_id|>\n\n");
  out->push_back({header, false, true});
}

void ChatTemplate::AppendMessage(const Message& message, std::vector<Segment>* out) const {
  const bool is_answer = message.role == "assistant";
  AppendHeader(message.role, out);
  out->push_back({kind_ == Kind::kLlama3 ? Trim(message.content) : message.content, is_answer, false});
  out->push_back({end_of_turn_, is_answer, true});
  if (kind_ == Kind::kChatMl) out->push_back({"\n", false, true});
}

// next: the message after it, or nullptr.
void ChatTemplate::AppendBare(const Message& message, const Message* next, std::vector<Segment>* out) const {
  const bool is_answer = message.role == "assistant";
  out->push_back({message.content, is_answer, false});
  if (is_answer) {
    out->push_back({eos_, true, true});
  } else if (kind_ == Kind::kPlain && !EndsWithSpace(message.content) &&
             !(next != nullptr && BeginsWithSpace(next->content))) {
    out->push_back({"\n", false, false});
  }
}

std::vector<Segment> ChatTemplate::RenderBare(absl::Span<const Message> messages) const {
  std::vector<Segment> out = {{text_prefix_, false, true}};
  for (size_t i = 0; i < messages.size(); ++i) {
    AppendBare(messages[i], i + 1 < messages.size() ? &messages[i + 1] : nullptr, &out);
  }
  return out;
}

std::vector<Segment> ChatTemplate::Render(absl::Span<const Message> messages, bool add_generation_prompt) const {
  if (is_bare()) return RenderBare(messages);  // an answer follows with no header
  std::vector<Segment> out;
  if (kind_ == Kind::kLlama3) out.push_back({bos_, false, true});
  if (!default_system_.empty() && !messages.empty() && messages[0].role != "system") {
    AppendMessage({"system", default_system_}, &out);
  }
  for (const Message& message : messages) AppendMessage(message, &out);
  if (add_generation_prompt) AppendHeader("assistant", &out);
  return out;
}

std::string ChatTemplate::Jinja() const {
  if (is_bare()) return "";
  if (kind_ == Kind::kLlama3) return absl::StrCat(kLlama3, kLlama3PromptIfAsked);
  if (default_system_.empty()) return absl::StrCat(kChatMlBegin, kChatMlEnd);
  return absl::StrCat(kChatMlBegin, kChatMlSystemBegin, default_system_, kChatMlSystemEnd, kChatMlEnd);
}

std::vector<Segment> ChatTemplate::RenderText(absl::string_view text) const {
  return {{text_prefix_, false, true}, {std::string(text), true, false}, {eos_, true, true}};
}

}  // namespace lorikeet::text
