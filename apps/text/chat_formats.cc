#include "apps/text/chat_formats.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/text/utf8.h"
#include "nlohmann/json.hpp"

namespace lorikeet::text {
namespace {

// Appends segments, leaving out empty ones.
class Writer {
 public:
  explicit Writer(std::vector<Segment>* out) : out_(out) {}
  void Template(absl::string_view text) { Add({std::string(text), false, true}); }
  void Prompt(absl::string_view text) { Add({std::string(text), false, false}); }
  void Answer(absl::string_view text) { Add({std::string(text), true, false}); }
  void AnswerTemplate(absl::string_view text) { Add({std::string(text), true, true}); }

  // What the assistant said and the marker behind it, or what another one said.
  void Turn(const Message& message, absl::string_view text, absl::string_view end) {
    const bool is_answer = message.role == "assistant";
    is_answer ? Answer(text) : Prompt(text);
    is_answer ? AnswerTemplate(end) : Template(end);
  }

 private:
  void Add(Segment segment) {
    if (!segment.text.empty()) out_->push_back(std::move(segment));
  }
  std::vector<Segment>* out_;
};

// Python's str.strip, which Jinja's trim is.
bool IsStripped(char32_t c) { return IsUnicodeWhitespace(c) || (c >= 0x1C && c <= 0x1F); }

absl::string_view Trim(absl::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    if (!IsStripped(step.code_point)) {
      begin = std::min(begin, pos);
      end = pos + step.length;
    }
    pos += step.length;
  }
  return begin < end ? text.substr(begin, end - begin) : absl::string_view();
}

absl::string_view WithoutLeadingLines(absl::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}
absl::string_view WithoutTrailingLines(absl::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

bool IsSystem(absl::Span<const Message> messages) { return !messages.empty() && messages[0].role == "system"; }

// Users at even places, others between them.
absl::Status CheckTurns(absl::Span<const Message> messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    if ((messages[i].role == "user") == (i % 2 == 0)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("user and assistant must take turns, but turn ", i + 1, " is from ", messages[i].role));
  }
  return absl::OkStatus();
}

absl::Status CheckRoles(absl::Span<const Message> messages) {
  for (const Message& m : messages) {
    if (m.role != "user" && m.role != "assistant") {
      return absl::InvalidArgumentError(absl::StrCat("has no place for a message from ", m.role));
    }
  }
  return absl::OkStatus();
}

// ---------------------------------------------------------------------------------------------------------- ChatML

void ChatMlMessage(const Message& message, Writer* w) {
  w->Template(absl::StrCat("<|im_start|>", message.role, "\n"));
  w->Turn(message, message.content, "<|im_end|>");
  w->Template("\n");
}

void ChatMlSystem(const Conversation& c, Writer* w) {
  if (!c.default_system.empty() && !c.messages.empty() && !IsSystem(c.messages)) {
    ChatMlMessage({"system", std::string(c.default_system)}, w);
  }
}

absl::Status ChatMl(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  ChatMlSystem(c, &w);
  for (const Message& m : c.messages) ChatMlMessage(m, &w);
  if (c.add_generation_prompt) w.Template("<|im_start|>assistant\n");
  return absl::OkStatus();
}

// Qwen's way with what tools say: neighbours share one user message.
void QwenTool(const Conversation& c, size_t i, Writer* w) {
  const auto is_tool = [&](size_t at) { return at < c.messages.size() && c.messages[at].role == "tool"; };
  if (i == 0 || !is_tool(i - 1)) w->Template("<|im_start|>user");
  w->Template("\n<tool_response>\n");
  w->Prompt(c.messages[i].content);
  w->Template("\n</tool_response>");
  if (!is_tool(i + 1)) w->Template("<|im_end|>\n");
}

absl::Status Qwen25(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  ChatMlSystem(c, &w);
  for (size_t i = 0; i < c.messages.size(); ++i) {
    c.messages[i].role == "tool" ? QwenTool(c, i, &w) : ChatMlMessage(c.messages[i], &w);
  }
  if (c.add_generation_prompt) w.Template("<|im_start|>assistant\n");
  return absl::OkStatus();
}

// Answers up to the last question lose their thoughts; those after it keep them.
size_t LastQuestion(absl::Span<const Message> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& text = messages[i].content;
    const bool is_tool = absl::StartsWith(text, "<tool_response>") && absl::EndsWith(text, "</tool_response>");
    if (messages[i].role == "user" && !is_tool) return i;
  }
  return messages.empty() ? 0 : messages.size() - 1;
}

void Qwen3Answer(absl::string_view content, bool after_question, bool is_last, bool thinks, Writer* w) {
  constexpr absl::string_view kBegin = "<think>", kEnd = "</think>";
  absl::string_view thoughts;
  if (const size_t end = content.find(kEnd); end != absl::string_view::npos) {
    thoughts = WithoutTrailingLines(content.substr(0, end));
    if (const size_t begin = thoughts.rfind(kBegin); begin != absl::string_view::npos) {
      thoughts.remove_prefix(begin + kBegin.size());
    }
    thoughts = WithoutLeadingLines(thoughts);
    content = WithoutLeadingLines(content.substr(content.rfind(kEnd) + kEnd.size()));
  }
  if (after_question && (is_last || !thoughts.empty())) {
    thoughts = WithoutTrailingLines(thoughts);
    if (thoughts.empty() && !thinks) {
      w->Template("<think>\n\n</think>\n\n");  // as in the prompt
    } else {
      w->AnswerTemplate("<think>\n");
      w->Answer(thoughts);
      w->AnswerTemplate("\n</think>\n\n");
    }
    content = WithoutLeadingLines(content);
  }
  w->Answer(content);
  w->AnswerTemplate("<|im_end|>");
  w->Template("\n");
}

absl::Status Qwen3Style(const Conversation& c, bool thinks, std::vector<Segment>* out) {
  Writer w(out);
  const size_t question = LastQuestion(c.messages);
  for (size_t i = 0; i < c.messages.size(); ++i) {
    const Message& m = c.messages[i];
    if (m.role == "tool") {
      QwenTool(c, i, &w);
    } else if (m.role == "assistant") {
      w.Template("<|im_start|>assistant\n");
      Qwen3Answer(m.content, i > question, i + 1 == c.messages.size(), thinks, &w);
    } else {
      ChatMlMessage(m, &w);
    }
  }
  if (c.add_generation_prompt) w.Template("<|im_start|>assistant\n");
  if (c.add_generation_prompt && !thinks) w.Template("<think>\n\n</think>\n\n");
  return absl::OkStatus();
}

absl::Status Qwen3(const Conversation& c, std::vector<Segment>* out) { return Qwen3Style(c, true, out); }
absl::Status Qwen3NoThink(const Conversation& c, std::vector<Segment>* out) { return Qwen3Style(c, false, out); }

// ---------------------------------------------------------------------------------------------------------- Llama 3

void Llama3Header(absl::string_view role, Writer* w) {
  w->Template(absl::StrCat("<|start_header_id|>", role, "<|end_header_id|>\n\n"));
}

void Llama3Message(const Message& message, Writer* w) {
  Llama3Header(message.role, w);
  w->Turn(message, Trim(message.content), "<|eot_id|>");
}

absl::Status Llama3(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  if (!c.messages.empty()) w.Template(c.bos);
  for (const Message& m : c.messages) Llama3Message(m, &w);
  if (c.add_generation_prompt) Llama3Header("assistant", &w);
  return absl::OkStatus();
}

// The date is the one that the template itself falls back to, so that a run means the same on every day.
absl::Status Llama31(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  w.Template(c.bos);
  Llama3Header("system", &w);
  w.Template("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
  absl::Span<const Message> messages = c.messages;
  if (IsSystem(messages)) {
    w.Prompt(Trim(messages[0].content));
    messages.remove_prefix(1);
  }
  w.Template("<|eot_id|>");
  for (const Message& m : messages) {
    if (m.role != "tool") {
      Llama3Message(m, &w);
      continue;
    }
    Llama3Header("ipython", &w);
    w.Prompt(nlohmann::json(m.content).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    w.Template("<|eot_id|>");
  }
  if (c.add_generation_prompt) Llama3Header("assistant", &w);
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------------- Llama 2, Mistral

absl::Status Llama2(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  absl::Span<const Message> messages = c.messages;
  const Message* system = IsSystem(messages) ? &messages[0] : nullptr;
  if (system != nullptr) messages.remove_prefix(1);
  if (absl::Status s = CheckTurns(messages); !s.ok()) return s;
  for (const Message& m : messages) {
    std::string content = m.content;
    if (&m == &messages[0] && system != nullptr) {
      content = absl::StrCat("<<SYS>>\n", system->content, "\n<</SYS>>\n\n", m.content);
    }
    if (m.role == "user") {
      w.Template(absl::StrCat(c.bos, "[INST] "));
      w.Prompt(Trim(content));
      w.Template(" [/INST]");
    } else if (m.role == "assistant") {
      w.AnswerTemplate(" ");
      w.Answer(Trim(content));
      w.AnswerTemplate(absl::StrCat(" ", c.eos));
    }
  }
  return absl::OkStatus();
}

// How Mistral's versions differ.
struct MistralStyle {
  const char* before_user;
  const char* after_user;
  const char* before_answer;
  bool trims_answer;
  bool system_allowed;
  bool system_last;  // the system message goes into the last user message and, where an answer is last, nowhere
};

absl::Status Mistral(const Conversation& c, const MistralStyle& style, std::vector<Segment>* out) {
  Writer w(out);
  absl::Span<const Message> messages = c.messages;
  const Message* system = style.system_allowed && IsSystem(messages) ? &messages[0] : nullptr;
  if (system != nullptr) messages.remove_prefix(1);
  if (absl::Status s = CheckTurns(messages); !s.ok()) return s;
  if (absl::Status s = CheckRoles(messages); !s.ok()) return s;
  w.Template(c.bos);
  for (const Message& m : messages) {
    if (m.role == "assistant") {
      w.AnswerTemplate(style.before_answer);
      w.Answer(style.trims_answer ? Trim(m.content) : absl::string_view(m.content));
      w.AnswerTemplate(c.eos);
      continue;
    }
    w.Template(style.before_user);
    if (system != nullptr && &m == (style.system_last ? &messages.back() : &messages.front())) {
      w.Prompt(system->content);
      w.Template("\n\n");
    }
    w.Prompt(m.content);
    w.Template(style.after_user);
  }
  return absl::OkStatus();
}

absl::Status Mistral01(const Conversation& c, std::vector<Segment>* out) {
  return Mistral(c, {"[INST] ", " [/INST]", "", false, false, false}, out);
}
absl::Status Mistral02(const Conversation& c, std::vector<Segment>* out) {
  return Mistral(c, {" [INST] ", " [/INST]", " ", false, true, false}, out);
}
absl::Status Mistral03(const Conversation& c, std::vector<Segment>* out) {
  return Mistral(c, {"[INST] ", "[/INST]", " ", true, true, true}, out);
}
absl::Status MistralNemo(const Conversation& c, std::vector<Segment>* out) {
  return Mistral(c, {"[INST]", "[/INST]", "", false, true, true}, out);
}

// ------------------------------------------------------------------------------------------------------------ others

void GemmaMessage(const Message& message, absl::string_view before, Writer* w) {
  w->Template(absl::StrCat("<start_of_turn>", message.role == "assistant" ? "model" : message.role, "\n"));
  w->Prompt(before);
  w->Turn(message, Trim(message.content), "<end_of_turn>");
  w->Template("\n");
}

absl::Status Gemma(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  if (IsSystem(c.messages)) return absl::InvalidArgumentError("has no place for a message from system");
  if (absl::Status s = CheckTurns(c.messages); !s.ok()) return s;
  w.Template(c.bos);
  for (const Message& m : c.messages) GemmaMessage(m, "", &w);
  if (c.add_generation_prompt) w.Template("<start_of_turn>model\n");
  return absl::OkStatus();
}

// The system message goes before the first user message's text.
absl::Status Gemma3(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  absl::Span<const Message> messages = c.messages;
  std::string before;
  if (IsSystem(messages)) {
    before = messages[0].content + "\n\n";
    messages.remove_prefix(1);
  }
  if (absl::Status s = CheckTurns(messages); !s.ok()) return s;
  w.Template(c.bos);
  for (const Message& m : messages) {
    GemmaMessage(m, before, &w);
    before.clear();
  }
  if (c.add_generation_prompt) w.Template("<start_of_turn>model\n");
  return absl::OkStatus();
}

absl::Status Phi3(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  for (const Message& m : c.messages) {
    if (m.role == "tool" || (m.role == "system" && m.content.empty())) continue;
    w.Template(absl::StrCat("<|", m.role, "|>\n"));
    w.Turn(m, m.content, "<|end|>");
    w.Template("\n");
  }
  w.Template(c.add_generation_prompt ? "<|assistant|>\n" : c.eos);
  return absl::OkStatus();
}

// The header of an answer ends every turn of the user; what the system or a tool says is left out.
absl::Status Phi3Mini(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  w.Template(c.bos);
  for (const Message& m : c.messages) {
    if (m.role == "user") {
      w.Template("<|user|>\n");
      w.Prompt(m.content);
      w.Template("<|end|>\n<|assistant|>\n");
    } else if (m.role == "assistant") {
      w.Turn(m, m.content, "<|end|>");
      w.Template("\n");
    }
  }
  return absl::OkStatus();
}

absl::Status Zephyr(const Conversation& c, std::vector<Segment>* out) {
  Writer w(out);
  for (const Message& m : c.messages) {
    if (m.role == "tool") continue;
    w.Template(absl::StrCat("<|", m.role, "|>\n"));
    w.Turn(m, m.content, c.eos);
    w.Template("\n");
  }
  if (c.add_generation_prompt && !c.messages.empty()) w.Template("<|assistant|>\n");
  return absl::OkStatus();
}

bool EndsWithSpace(absl::string_view text) { return !text.empty() && absl::ascii_isspace(text.back()); }
bool BeginsWithSpace(absl::string_view text) { return !text.empty() && absl::ascii_isspace(text.front()); }

absl::Status Bare(const Conversation& c, bool line_ends, std::vector<Segment>* out) {
  Writer w(out);
  for (size_t i = 0; i < c.messages.size(); ++i) {
    const Message& m = c.messages[i];
    w.Turn(m, m.content, m.role == "assistant" ? c.eos : "");
    const bool next_begins_with_space = i + 1 < c.messages.size() && BeginsWithSpace(c.messages[i + 1].content);
    if (line_ends && m.role != "assistant" && !EndsWithSpace(m.content) && !next_begins_with_space) w.Prompt("\n");
  }
  return absl::OkStatus();
}

absl::Status Plain(const Conversation& c, std::vector<Segment>* out) { return Bare(c, true, out); }
absl::Status Raw(const Conversation& c, std::vector<Segment>* out) { return Bare(c, false, out); }

}  // namespace

absl::Span<const ChatFormat> ChatFormats() {
  using Tokens = std::vector<const char*>;
  static const auto* formats = [] {
    const Tokens chatml = {"<|im_start|>", "<|im_end|>"};
    const Tokens llama3 = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"};
    const Tokens inst = {"[INST]", "[/INST]"};
    const Tokens gemma = {"<start_of_turn>", "<end_of_turn>"};
    const Tokens phi3 = {"<|user|>", "<|assistant|>", "<|end|>"};
    return new std::vector<ChatFormat>{
        {"chatml", "", chatml, "<|im_end|>", false, ChatMl},
        {"smollm2", "You are a helpful AI assistant named SmolLM, trained by Hugging Face", chatml, "<|im_end|>", false,
         ChatMl},
        {"qwen2", "You are a helpful assistant.", chatml, "<|im_end|>", false, ChatMl},
        {"qwen2.5", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", chatml, "<|im_end|>", false,
         Qwen25},
        {"qwen3", "", chatml, "<|im_end|>", false, Qwen3},
        {"qwen3-no-think", "", chatml, "<|im_end|>", false, Qwen3NoThink},
        {"llama2", "", {}, "", false, Llama2},
        {"llama3", "", llama3, "<|eot_id|>", false, Llama3},
        {"llama3.1", "", llama3, "<|eot_id|>", false, Llama31},
        {"mistral-v0.1", "", {}, "", false, Mistral01},
        {"mistral-v0.2", "", {}, "", false, Mistral02},
        {"mistral-v0.3", "", inst, "", false, Mistral03},
        {"mistral-nemo", "", inst, "", false, MistralNemo},
        {"gemma", "", gemma, "<end_of_turn>", false, Gemma},
        {"gemma3", "", gemma, "<end_of_turn>", false, Gemma3},
        {"phi3-mini", "", phi3, "<|end|>", false, Phi3Mini},
        {"phi3", "", phi3, "<|end|>", false, Phi3},
        {"zephyr", "", {}, "", false, Zephyr},
        {"plain", "", {}, "", true, Plain},
        {"raw", "", {}, "", true, Raw},
    };
  }();
  return *formats;
}

const ChatFormat* FindChatFormat(absl::string_view name) {
  for (const ChatFormat& format : ChatFormats()) {
    if (name == format.name) return &format;
  }
  return nullptr;
}

}  // namespace lorikeet::text
