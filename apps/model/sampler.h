// Sampler: from the logits of one position to the next token.
//
//   Sampler sampler({.temperature = 0.8, .top_p = 0.95, .seed = 42});
//   absl::StatusOr<int32_t> id = sampler.Sample(logits, /*position=*/17);
//
//   p_i ~ exp(logit_i / temperature), restricted to the nucleus: the fewest tokens, most probable first, whose
//   probabilities reach top_p.   temperature 0: the largest logit (the lowest id of equals).
//
// The random number is that of (seed, position): the same seed gives the same text, and nothing else is remembered.
// Threads: const. Errors: FailedPrecondition if a logit is NaN or +infinity. Source: Holtzman et al., "The curious case
// of neural text degeneration", 2020.
#ifndef LORIKEET_APPS_MODEL_SAMPLER_H_
#define LORIKEET_APPS_MODEL_SAMPLER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace lorikeet {

struct SamplerOptions {
  double temperature = 0;
  double top_p = 1;
  uint64_t seed = 42;
};

// InvalidArgument names the flag: temperature is finite and not negative, top_p in (0, 1].
absl::Status Validate(const SamplerOptions& options);

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options) {}  // valid ones
  absl::StatusOr<int32_t> Sample(absl::Span<const float> logits, int64_t position) const;

 private:
  SamplerOptions options_;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_SAMPLER_H_
