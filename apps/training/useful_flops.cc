#include "apps/training/useful_flops.h"

#include <cstddef>

namespace lorikeet {

int64_t CausalPairs(absl::Span<const int32_t> cu_seqlens) {
  int64_t pairs = 0;
  for (size_t i = 1; i < cu_seqlens.size(); ++i) {
    const int64_t length = cu_seqlens[i] - cu_seqlens[i - 1];
    pairs += length * (length + 1) / 2;
  }
  return pairs;
}

double UsefulFlopsPerStep(const StepFlops& s) {
  const auto product = [](double flops_per_weight, int64_t weights, int64_t rows) {
    return flops_per_weight * static_cast<double>(weights) * static_cast<double>(rows);
  };
  const double linear = product(4, s.frozen_linear_weights, s.tokens) + product(6, s.trained_linear_weights, s.tokens) +
                        product(6, s.adapter_weights, s.tokens);
  const double attention =
      6 * 2.0 * static_cast<double>(s.layers * s.heads * s.head_dim) * static_cast<double>(s.causal_pairs);
  return linear + attention + product(s.head_trained ? 6 : 4, s.head_weights, s.target_rows);
}

}  // namespace lorikeet
