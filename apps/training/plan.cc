#include "apps/training/plan.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "apps/training/number_text.h"

namespace lorikeet {
namespace {

std::string MemoryLine(const PlanInputs& p) {
  const bool paged = p.optimizer_memory_limit > 0 && p.optimizer_bytes > p.optimizer_memory_limit;
  const int64_t optimizer = paged ? p.optimizer_memory_limit : p.optimizer_bytes;
  std::vector<std::string> parts = {absl::StrCat("weights ", HumanBytes(p.weight_bytes))};
  if (p.gradient_bytes > 0) parts.push_back(absl::StrCat("gradients ", HumanBytes(p.gradient_bytes)));
  parts.push_back(absl::StrCat("optimizer ", HumanBytes(optimizer)));
  parts.push_back(absl::StrCat("activations ", HumanBytes(p.activation_bytes)));
  const int64_t sum = p.weight_bytes + p.gradient_bytes + optimizer + p.activation_bytes;
  return absl::StrCat(absl::StrJoin(parts, " + "), " = ", HumanBytes(sum),
                      paged ? absl::StrCat("; ", HumanBytes(p.optimizer_bytes), " of optimizer state, paged") : "");
}

std::string StepsLine(const PlanInputs& p) {
  const int64_t tokens = p.batch_size * p.gradient_accumulation_steps * p.max_seq_length;
  std::string line = absl::StrCat(WithThousands(p.steps), " × at most ", WithThousands(tokens), " tokens (",
                                  p.batch_size, " sequences × ");
  if (p.gradient_accumulation_steps > 1) absl::StrAppend(&line, p.gradient_accumulation_steps, " micro-batches × ");
  absl::StrAppend(&line, p.max_seq_length, ")");
  if (p.first_step > 0) absl::StrAppend(&line, ", resumed after step ", p.first_step);
  return line;
}

}  // namespace

std::string FormatPlan(const PlanInputs& p, bool utf8) {
  const double percent = 100.0 * static_cast<double>(p.trainable_parameters) /
                         static_cast<double>(std::max<int64_t>(p.total_parameters, 1));
  const std::string stored = p.weights.empty() || p.weights == p.dtype ? "" : absl::StrCat(p.weights, " weights, ");
  std::string text = absl::StrCat("model       ", p.model, " · ", HumanCount(p.total_parameters), " parameters, ",
                                  p.num_layers, " layers\n");
  absl::StrAppend(&text, "method      ", p.method, " · ", stored, p.dtype, " computation, ", p.device, "\n");
  absl::StrAppend(&text, "trainable   ", WithThousands(p.trainable_parameters), " of ",
                  WithThousands(p.total_parameters), " (", FixedDouble(percent, 2), "%)\n");
  absl::StrAppend(&text, "memory      ", MemoryLine(p), "\n");
  absl::StrAppend(&text, "data        ", WithThousands(p.train_rows), " rows to train on, ", WithThousands(p.eval_rows),
                  " held out\n");
  absl::StrAppend(&text, "steps       ", StepsLine(p), "\n");
  return utf8 ? text : absl::StrReplaceAll(text, {{"×", "x"}, {"·", "-"}});
}

}  // namespace lorikeet
