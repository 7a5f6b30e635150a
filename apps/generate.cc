// Continues a prompt with a language model, or talks with it on the terminal.
//
//   1  render the conversation with the chat template (or take the prompt as it is)
//   2  tokens -> logits -> the next token, again and again; text comes out as it is made
//   3  stop at the model's end of turn, at a --stop string, or after --max_tokens
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/model/adapted_model.h"
#include "apps/model/generate.h"
#include "apps/model/model_flags.h"
#include "apps/model/sampler.h"
#include "apps/program.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/text/tokenizer.h"

ABSL_FLAG(std::string, prompt, "", "what to answer; empty: a chat on the terminal, which ctrl-D ends");
ABSL_FLAG(bool, raw_prompt, false, "continue --prompt as plain text, without the chat template");
ABSL_FLAG(int64_t, max_tokens, 256, "tokens of an answer at most");
ABSL_FLAG(double, temperature, 0, "0: the most probable token; 1: the model's own distribution");
ABSL_FLAG(double, top_p, 1, "sample among the most probable tokens that together reach this probability");
ABSL_FLAG(std::vector<std::string>, stop, {}, "comma-separated strings before any of which an answer ends");
ABSL_FLAG(uint64_t, seed, 42, "of the sampling: the same seed gives the same text");
ABSL_FLAG(std::string, chat_template, "", "chatml, llama3, plain, ...; empty: the model's own");
ABSL_FLAG(bool, cuda_graphs, true,
          "on a GPU: capture the pass of a token as a CUDA graph, and replay it by one launch");
ABSL_FLAG(int64_t, context_length, 4096, "tokens of a conversation at most, if the model allows so many");

namespace lorikeet {
namespace {

void Show(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

absl::StatusOr<GenerateOptions> OptionsFromFlags() {
  GenerateOptions o;
  o.max_tokens = absl::GetFlag(FLAGS_max_tokens);
  o.stop = absl::GetFlag(FLAGS_stop);
  o.sampler = {.temperature = absl::GetFlag(FLAGS_temperature),
               .top_p = absl::GetFlag(FLAGS_top_p),
               .seed = absl::GetFlag(FLAGS_seed)};
  if (o.max_tokens < 1)
    return absl::InvalidArgumentError(absl::StrCat("--max_tokens=", o.max_tokens, ": expected 1 or more"));
  if (absl::GetFlag(FLAGS_context_length) < 2)
    return absl::InvalidArgumentError(
        absl::StrCat("--context_length=", absl::GetFlag(FLAGS_context_length), ": expected 2 or more"));
  if (absl::Status s = Validate(o.sampler); !s.ok()) return s;
  return o;
}

// The conversation so far, as a row of training data would have it, and the header of an answer.
absl::StatusOr<std::vector<int32_t>> Encode(const std::vector<text::Message>& messages, const text::ChatTemplate& chat,
                                            const text::Tokenizer& tokenizer) {
  const absl::StatusOr<std::vector<text::Segment>> segments = chat.Render(messages, /*add_generation_prompt=*/true);
  if (!segments.ok()) return segments.status();
  return text::EncodeSegments(*segments, tokenizer, /*train_on_prompt=*/false).tokens;
}

// Running text: nothing but what the tokenizer puts before any text.
std::vector<int32_t> EncodeRaw(const std::string& prompt, const text::Tokenizer& tokenizer) {
  std::vector<int32_t> ids = tokenizer.spec().prefix_ids;
  const std::vector<int32_t> rest = tokenizer.Encode(prompt);
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

// What the template puts behind an answer ends one, whether or not the model's files say so.
std::vector<int32_t> EndOfTurn(const text::ChatTemplate& chat, const text::Tokenizer& tokenizer) {
  const std::vector<int32_t> ids = tokenizer.Encode(chat.end_of_turn(), {.allow_special = true});
  return ids.size() == 1 ? ids : std::vector<int32_t>();
}

// The context is full, or max_tokens is reached, in the middle of an answer: say so, but not in the answer.
void ReportReason(const Generation& g) {
  if (g.reason == StopReason::kContextFull)
    std::fprintf(stderr, "the context is full; raise --context_length, if the model allows more\n");
  if (g.reason == StopReason::kMaxTokens) std::fprintf(stderr, "stopped after --max_tokens\n");
}

absl::Status Answer(const std::vector<int32_t>& prompt, const GenerateOptions& options, Generator& generator,
                    std::string* answer = nullptr) {
  const absl::StatusOr<Generation> g = generator.Generate(prompt, options, Show);
  Show("\n");
  if (!g.ok()) return g.status();
  ReportReason(*g);
  if (answer != nullptr) *answer = g->text;
  return absl::OkStatus();
}

absl::Status Chat(const text::ChatTemplate& chat, const text::Tokenizer& tokenizer, const GenerateOptions& options,
                  Generator& generator) {
  std::vector<text::Message> messages;
  std::string line;
  while (Show("> "), std::getline(std::cin, line)) {
    if (line.empty()) continue;
    messages.push_back({"user", line});
    std::string answer;
    const absl::StatusOr<std::vector<int32_t>> prompt = Encode(messages, chat, tokenizer);
    if (!prompt.ok()) return prompt.status();
    if (absl::Status s = Answer(*prompt, options, generator, &answer); !s.ok()) return s;
    messages.push_back({"assistant", answer});
  }
  Show("\n");
  return absl::OkStatus();
}

void PrintSpeed(const GeneratorStats& s) {
  const auto rate = [](int64_t n, double seconds) { return seconds > 0 ? static_cast<double>(n) / seconds : 0; };
  std::fprintf(stderr, "prompt: %lld tokens, %.1f tokens/s; generation: %lld tokens, %.1f tokens/s\n",
               static_cast<long long>(s.prompt_tokens), rate(s.prompt_tokens, s.prompt_seconds),
               static_cast<long long>(s.generated_tokens), rate(s.generated_tokens, s.generation_seconds));
}

absl::Status Run() {
  absl::StatusOr<GenerateOptions> options = OptionsFromFlags();
  if (!options.ok()) return options.status();
  const absl::StatusOr<AdaptedModel> m = OpenModelFromFlags("auto");
  if (!m.ok()) return m.status();
  const text::Tokenizer& tokenizer = *m->base.tokenizer;
  const absl::StatusOr<text::ChatTemplate> chat =
      text::ChatTemplate::ForTokenizer(tokenizer.spec(), absl::GetFlag(FLAGS_chat_template));
  if (!chat.ok()) return chat.status();
  const int64_t context =
      std::min(absl::GetFlag(FLAGS_context_length), m->base.files->config().max_position_embeddings);
  Generator generator(m->base.lm.get(), &tokenizer, context, absl::GetFlag(FLAGS_cuda_graphs));
  const std::string prompt = absl::GetFlag(FLAGS_prompt);
  absl::Status status;
  if (absl::GetFlag(FLAGS_raw_prompt)) {
    status = Answer(EncodeRaw(prompt, tokenizer), *options, generator);
  } else {
    options->stop_ids = EndOfTurn(*chat, tokenizer);
    if (prompt.empty()) {
      status = Chat(*chat, tokenizer, *options, generator);
    } else {
      const absl::StatusOr<std::vector<int32_t>> ids = Encode({{"user", prompt}}, *chat, tokenizer);
      status = ids.ok() ? Answer(*ids, *options, generator) : ids.status();
    }
  }
  PrintSpeed(generator.stats());
  return status;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv,
                         "Continues a prompt with a language model, or talks with it.\n"
                         "  generate --model=DIR_OR_GGUF --adapter=DIR --prompt='How many legs have 3 cats?'");
  return lorikeet::ExitCode(lorikeet::Run());
}
