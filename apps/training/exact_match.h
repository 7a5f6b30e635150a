// Exact match: how often a model's greedy answer is the one that the row has.
//
//   absl::StatusOr<ExactMatchResult> r =
//       ExactMatch(*model.lm, *model.tokenizer, eval.examples, {.answer_after = "####"});
//   std::printf("%.1f +- %.1f %%\n", 100 * r->rate(), 100 * r->standard_error());
//
// The prompt is an example's tokens up to its first answer token, so only rows of one answer make sense. Both texts are
// compared without the white space around them; with answer_after, only what follows its last occurrence is (GSM8K's
// "#### 72"), and an answer without it is wrong. Errors: the generator's.
#ifndef LORIKEET_APPS_TRAINING_EXACT_MATCH_H_
#define LORIKEET_APPS_TRAINING_EXACT_MATCH_H_

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apps/text/dataset.h"
#include "apps/text/tokenizer.h"
#include "nn/causal_lm.h"

namespace lorikeet {

struct ExactMatchOptions {
  std::string answer_after;
  int64_t max_tokens = 256;  // of an answer
};

struct ExactMatchResult {
  int64_t rows = 0, matches = 0;

  double rate() const { return rows > 0 ? static_cast<double>(matches) / static_cast<double>(rows) : std::nan(""); }
  // Of the rate, as an estimate from so many independent rows: sqrt(p*(1-p)/n).
  double standard_error() const { return std::sqrt(rate() * (1 - rate()) / static_cast<double>(rows)); }
};

absl::StatusOr<ExactMatchResult> ExactMatch(CausalLm& model, const text::Tokenizer& tokenizer,
                                            const std::vector<text::Example>& examples,
                                            const ExactMatchOptions& options);

// The part of an answer that is compared; "" if answer_after is not in it.
std::string ComparedPart(const std::string& answer, const std::string& answer_after);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_EXACT_MATCH_H_
