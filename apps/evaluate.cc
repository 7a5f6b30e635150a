// Loss, perplexity and token accuracy of a model, with or without an adapter, on the answers of a file of rows.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "apps/model/adapted_model.h"
#include "apps/model/model_flags.h"
#include "apps/program.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/training/evaluate.h"
#include "apps/training/exact_match.h"
#include "nlohmann/json.hpp"

ABSL_FLAG(std::string, data, "",
          "rows, one JSON object a line, with the keys text; prompt, completion; question, answer; instruction, input, "
          "output; conversations; or messages");
ABSL_FLAG(int64_t, max_seq_length, 1024, "longer rows are cut to this many tokens");
ABSL_FLAG(bool, exact_match, false, "also generate every answer greedily and count those that equal the row's");
ABSL_FLAG(std::string, answer_after, "",
          "with --exact_match: compare only what follows this text in an answer, as #### in GSM8K's");
ABSL_FLAG(int64_t, max_new_tokens, 256, "with --exact_match: of a generated answer");
ABSL_FLAG(bool, train_on_prompt, false, "count the prompt's tokens too, not the answer's alone");
ABSL_FLAG(std::string, chat_template, "", "chatml, llama3, plain, ...; empty: the model's own");

namespace lorikeet {
namespace {

// Tokens that go through the model together.
constexpr int64_t kBatchTokens = 2048;

absl::StatusOr<text::Dataset> LoadRows(const OpenedModel& model) {
  if (absl::GetFlag(FLAGS_exact_match) && absl::GetFlag(FLAGS_train_on_prompt)) {
    return absl::InvalidArgumentError("--exact_match needs prompts to answer; leave --train_on_prompt out");
  }
  if (absl::GetFlag(FLAGS_max_new_tokens) < 1)
    return absl::InvalidArgumentError("--max_new_tokens: expected 1 or more");
  const std::string path = absl::GetFlag(FLAGS_data);
  if (path.empty()) return absl::InvalidArgumentError("--data is missing: name a .jsonl file");
  const int64_t limit = model.files->config().max_position_embeddings, length = absl::GetFlag(FLAGS_max_seq_length);
  if (length < 2) return absl::InvalidArgumentError(absl::StrCat("--max_seq_length=", length, ": expected 2 or more"));
  const absl::StatusOr<text::ChatTemplate> chat =
      text::ChatTemplate::ForTokenizer(model.tokenizer->spec(), absl::GetFlag(FLAGS_chat_template));
  if (!chat.ok()) return chat.status();
  return text::LoadDataset(
      path, *model.tokenizer, *chat,
      {.max_seq_length = std::min(length, limit), .train_on_prompt = absl::GetFlag(FLAGS_train_on_prompt)});
}

void PrintResult(const AdaptedModel& m, const text::DatasetStats& stats, const EvalResult& r,
                 const ExactMatchResult* exact, double seconds) {
  std::printf("model       %s\n", m.base.path.c_str());
  if (!m.adapter.empty()) std::printf("adapter     %s\n", m.adapter.c_str());
  std::printf("rows        %lld", static_cast<long long>(r.examples));
  if (stats.truncated > 0) std::printf(" (%lld cut to --max_seq_length)", static_cast<long long>(stats.truncated));
  if (stats.dropped > 0) std::printf(" (%lld dropped, no answer token left)", static_cast<long long>(stats.dropped));
  std::printf("\ntokens      %lld of answers, in %.1f s\n", static_cast<long long>(r.counts.tokens), seconds);
  std::printf("loss        %.6f\nperplexity  %.4f\naccuracy    %.2f %% of tokens\n", r.loss(), r.perplexity(),
              100 * r.accuracy());
  if (exact != nullptr) {
    std::printf("exact       %.2f +- %.2f %% of answers\n", 100 * exact->rate(), 100 * exact->standard_error());
  }
  nlohmann::ordered_json json = {
      {"model", m.base.path},         {"adapter", m.adapter},      {"data", absl::GetFlag(FLAGS_data)},
      {"rows", r.examples},           {"tokens", r.counts.tokens}, {"loss", r.loss()},
      {"perplexity", r.perplexity()}, {"accuracy", r.accuracy()},  {"seconds", seconds}};
  if (exact != nullptr) {
    json["exact_match"] = exact->rate();
    json["exact_match_standard_error"] = exact->standard_error();
  }
  // Names of files may be any bytes.
  std::printf("%s\n", json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

absl::Status Run() {
  const absl::StatusOr<AdaptedModel> m = OpenModelFromFlags("auto");
  if (!m.ok()) return m.status();
  const absl::StatusOr<text::Dataset> data = LoadRows(m->base);
  if (!data.ok()) return data.status();
  const auto start = std::chrono::steady_clock::now();
  const EvalResult result = EvaluateLoss(*m->base.lm, data->examples, kBatchTokens);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  if (!std::isfinite(result.loss()))
    return absl::FailedPreconditionError(absl::StrCat(
        "the loss is ", result.loss(), "; the weights or the adapter's are damaged, or try --compute_dtype=f32"));
  absl::StatusOr<ExactMatchResult> exact = ExactMatchResult();
  if (absl::GetFlag(FLAGS_exact_match)) {
    exact = ExactMatch(
        *m->base.lm, *m->base.tokenizer, data->examples,
        {.answer_after = absl::GetFlag(FLAGS_answer_after), .max_tokens = absl::GetFlag(FLAGS_max_new_tokens)});
    if (!exact.ok()) return exact.status();
  }
  PrintResult(*m, data->stats, result, absl::GetFlag(FLAGS_exact_match) ? &*exact : nullptr, elapsed.count());
  return absl::OkStatus();
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(
      argc, argv,
      "Loss, perplexity and token accuracy on the answers of a file; a JSON object is the last line.\n"
      "  evaluate --model=DIR_OR_GGUF --adapter=DIR --data=FILE.jsonl");
  return lorikeet::ExitCode(lorikeet::Run());
}
