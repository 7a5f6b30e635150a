// Every published template text that the golden file has is recognised, and conversations come out as transformers
// renders them: the text, the answers in it, and the errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/chat_formats.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/text/golden_vectors.h"
#include "apps/text/tokenizer.h"
#include "nlohmann/json.hpp"

namespace lorikeet::text {
namespace {

using nlohmann::json;
using Spans = std::vector<std::pair<size_t, size_t>>;

// One line of the golden file: a template and what transformers made of it.
std::vector<json> Templates() {
  std::vector<json> templates;
  const std::string file = ReadZstdFile("tests/golden/chat_templates.jsonl.zst");
  for (const absl::string_view line : absl::StrSplit(file, '\n', absl::SkipEmpty())) {
    templates.push_back(json::parse(line.begin(), line.end()));
  }
  return templates;
}

// A tokenizer with the template, its BOS and EOS and every control token that a format may need.
BpeSpec SpecFor(const json& golden) {
  BpeSpec spec;
  spec.vocab = {"a"};
  std::set<std::string> control = {golden["bos"], golden["eos"]};
  for (const ChatFormat& format : ChatFormats()) {
    for (const char* token : format.control_tokens) control.insert(token);
  }
  for (const std::string& content : control) {
    AddedToken token;
    token.id = static_cast<int32_t>(spec.num_tokens());
    token.content = content;
    token.special = true;
    spec.added.push_back(token);
    if (content == golden["bos"]) spec.bos_id = token.id;
    if (content == golden["eos"]) spec.eos_id = token.id;
  }
  spec.prefix_ids = {spec.bos_id};
  spec.chat_template = golden["text"];
  return spec;
}

std::string Text(const std::vector<Segment>& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

// Where the answers lie in the text, neighbours joined.
Spans Answers(const std::vector<Segment>& segments) {
  Spans spans;
  size_t at = 0;
  for (const Segment& segment : segments) {
    const size_t end = at + segment.text.size();
    if (segment.is_answer && !spans.empty() && spans.back().second == at) {
      spans.back().second = end;
    } else if (segment.is_answer) {
      spans.push_back({at, end});
    }
    at = end;
  }
  return spans;
}

std::vector<Message> Messages(const json& list) {
  std::vector<Message> messages;
  for (const json& m : list) messages.push_back({m["role"], m["content"]});
  return messages;
}

TEST(ChatGolden, EveryPublishedTextIsRecognised) {
  for (const json& golden : Templates()) {
    const absl::StatusOr<ChatTemplate> chat = ChatTemplate::ForTokenizer(SpecFor(golden), "");
    ASSERT_TRUE(chat.ok()) << golden["source"] << ": " << chat.status();
    EXPECT_EQ(chat->name(), golden["format"].get<std::string>()) << golden["source"];
  }
}

TEST(ChatGolden, ConversationsAreRenderedAsTransformersDoes) {
  size_t rendered = 0, refused = 0;
  for (const json& golden : Templates()) {
    BpeSpec spec = SpecFor(golden);
    const ChatTemplate own = *ChatTemplate::ForTokenizer(spec, "");
    const ChatTemplate no_think = *ChatTemplate::ForTokenizer(spec, "qwen3-no-think");
    for (const json& c : golden["cases"]) {
      const ChatTemplate& chat = c.value("enable_thinking", true) ? own : no_think;
      const absl::StatusOr<std::vector<Segment>> segments =
          chat.Render(Messages(c["messages"]), c["add_generation_prompt"].get<bool>());
      const std::string what = absl::StrCat(golden["source"].get<std::string>(), " ", c.dump());
      ASSERT_EQ(segments.ok(), c.contains("rendered")) << what << ": " << segments.status();
      ++(segments.ok() ? rendered : refused);
      if (!segments.ok()) continue;
      EXPECT_EQ(Text(*segments), c["rendered"].get<std::string>()) << what;
      EXPECT_EQ(Answers(*segments), c["answers"].get<Spans>()) << what;
    }
  }
  EXPECT_GT(rendered, 500u);
  EXPECT_GT(refused, 50u);
}

TEST(ChatGolden, WhatUsersWroteMayNotNameControlTokens) {
  for (const json& golden : Templates()) {
    const ChatTemplate chat = *ChatTemplate::ForTokenizer(SpecFor(golden), "");
    std::string attack;
    for (const AddedToken& token : SpecFor(golden).added) attack += token.content;
    const auto segments = chat.Render({{"user", attack}, {"assistant", attack}, {"user", attack}});
    ASSERT_TRUE(segments.ok()) << golden["source"] << segments.status();
    int kept = 0;
    for (const Segment& segment : *segments) {
      const bool theirs = segment.text.find(attack) != std::string::npos;
      kept += theirs;
      EXPECT_FALSE(theirs && segment.allow_special) << golden["source"];
    }
    EXPECT_EQ(kept, 3) << golden["source"];
  }
}

TEST(ChatGolden, BosIsWrittenOnceOrNotAtAllButForLlama2) {
  for (const json& golden : Templates()) {
    const ChatTemplate chat = *ChatTemplate::ForTokenizer(SpecFor(golden), "");
    const Tokenizer tokenizer = *Tokenizer::Create(SpecFor(golden));
    const std::vector<Segment> segments = *chat.Render({{"user", "a"}, {"assistant", "b"}, {"user", "c"}}, true);
    const std::string text = Text(segments);
    const std::vector<std::string> parts = absl::StrSplit(text, golden["bos"].get<std::string>());
    EXPECT_LE(parts.size(), chat.name() == "llama2" ? 3u : 2u) << text;
    const std::vector<int32_t> ids = EncodeSegments(segments, tokenizer, /*train_on_prompt=*/false).tokens;
    EXPECT_EQ(std::count(ids.begin(), ids.end(), tokenizer.spec().bos_id) + 1, static_cast<int64_t>(parts.size()));
    EXPECT_FALSE(chat.end_of_turn().empty()) << golden["source"];
  }
}

}  // namespace
}  // namespace lorikeet::text
