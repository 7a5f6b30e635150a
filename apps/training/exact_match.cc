#include "apps/training/exact_match.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/types/span.h"
#include "apps/model/generate.h"

namespace lorikeet {
namespace {

std::string AnswerOf(const text::Example& e, size_t prompt, const text::Tokenizer& tokenizer) {
  text::StreamDecoder decoder(&tokenizer, /*skip_special=*/true);
  std::string answer;
  for (size_t i = prompt; i < e.tokens.size(); ++i) {
    if (e.loss_mask[i] != 0 && !tokenizer.IsStop(e.tokens[i])) answer += decoder.Push(e.tokens[i]);
  }
  return answer + decoder.Finish();
}

}  // namespace

std::string ComparedPart(const std::string& answer, const std::string& answer_after) {
  if (answer_after.empty()) return std::string(absl::StripAsciiWhitespace(answer));
  const size_t at = answer.rfind(answer_after);
  return at == answer.npos ? "" : std::string(absl::StripAsciiWhitespace(answer.substr(at + answer_after.size())));
}

absl::StatusOr<ExactMatchResult> ExactMatch(CausalLm& model, const text::Tokenizer& tokenizer,
                                            const std::vector<text::Example>& examples,
                                            const ExactMatchOptions& options) {
  size_t longest = 0;
  for (const text::Example& e : examples) longest = std::max(longest, e.tokens.size());
  Generator generator(&model, &tokenizer, static_cast<int64_t>(longest) + options.max_tokens);
  ExactMatchResult result;
  for (const text::Example& e : examples) {
    const size_t prompt =
        static_cast<size_t>(std::find(e.loss_mask.begin(), e.loss_mask.end(), 1) - e.loss_mask.begin());
    const absl::StatusOr<Generation> g = generator.Generate(
        absl::MakeConstSpan(e.tokens).first(prompt), {.max_tokens = options.max_tokens}, [](absl::string_view) {});
    if (!g.ok()) return g.status();
    const std::string want = ComparedPart(AnswerOf(e, prompt, tokenizer), options.answer_after);
    ++result.rows;
    result.matches += !want.empty() && ComparedPart(g->text, options.answer_after) == want;
  }
  return result;
}

}  // namespace lorikeet
