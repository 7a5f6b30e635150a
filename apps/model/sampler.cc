#include "apps/model/sampler.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensor/check.h"
#include "tensor/random.h"

namespace lorikeet {
namespace {

struct Candidate {
  double weight;
  int32_t id;
};

// Heaviest first; the lower id of equals, so that the order does not depend on the library's heap.
bool Lighter(const Candidate& a, const Candidate& b) {
  return a.weight < b.weight || (a.weight == b.weight && a.id > b.id);
}

// Moves the nucleus to the back, the most probable token last, and drops the rest.
void KeepNucleus(double top_p, double total, std::vector<Candidate>* candidates) {
  // A heap, because the nucleus is mostly a few dozen tokens of a vocabulary of many thousand.
  std::make_heap(candidates->begin(), candidates->end(), Lighter);
  auto end = candidates->end();
  for (double mass = 0; mass < top_p * total && end != candidates->begin();) {
    std::pop_heap(candidates->begin(), end--, Lighter);
    mass += end->weight;
  }
  candidates->erase(candidates->begin(), end);
}

}  // namespace

absl::Status Validate(const SamplerOptions& o) {
  if (!(o.temperature >= 0) || std::isinf(o.temperature))
    return absl::InvalidArgumentError(
        absl::StrCat("--temperature=", o.temperature, ": expected 0 (the most probable token) or more"));
  if (!(o.top_p > 0 && o.top_p <= 1))
    return absl::InvalidArgumentError(absl::StrCat("--top_p=", o.top_p, ": expected more than 0, at most 1"));
  return absl::OkStatus();
}

absl::StatusOr<int32_t> Sampler::Sample(absl::Span<const float> logits, int64_t position) const {
  LORIKEET_CHECK(!logits.empty()) << "Sampler: no logits";
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] < INFINITY))
      return absl::FailedPreconditionError(
          absl::StrCat("the model's logit for token ", i, " at position ", position, " is ", logits[i],
                       "; its weights or the adapter's are damaged, or try --compute_dtype=f32"));
  }
  const auto best = std::max_element(logits.begin(), logits.end());
  if (options_.temperature == 0) return static_cast<int32_t>(best - logits.begin());
  std::vector<Candidate> candidates(logits.size());
  double total = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double weight = std::exp((double{logits[i]} - double{*best}) / options_.temperature);
    candidates[i] = {weight, static_cast<int32_t>(i)};
    total += weight;
  }
  if (options_.top_p < 1) {
    KeepNucleus(options_.top_p, total, &candidates);
    total = 0;
    for (const Candidate& c : candidates) total += c.weight;
  }
  const double u = ToUnitFloat(Philox(RngKey{.seed = options_.seed}, static_cast<uint64_t>(position)).v[0]);
  double left = u * total;
  // From the back: the nucleus has its heaviest there, and what rounding leaves over falls on a token of the front.
  for (auto c = candidates.rbegin(); c != candidates.rend(); ++c) {
    left -= c->weight;
    if (left < 0) return c->id;
  }
  return static_cast<int32_t>(best - logits.begin());
}

}  // namespace lorikeet
