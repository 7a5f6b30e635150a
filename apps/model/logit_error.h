// How far two models' logits are apart, for programs that change a model's form and must say what that cost.
//
//   std::vector<Tensor> before = LastLogits(*model, prompts, /*rows=*/16);
//   LogitError e = CompareLogits(before, LastLogits(*merged, prompts, 16));
//   std::printf("max %g, mean %g\n", e.max, e.mean);
#ifndef LORIKEET_APPS_MODEL_LOGIT_ERROR_H_
#define LORIKEET_APPS_MODEL_LOGIT_ERROR_H_

#include <cstdint>
#include <vector>

#include "nn/causal_lm.h"
#include "tensor/tensor.h"

namespace lorikeet {

// For each prompt (token ids, one at least) the f32 logits of its last `rows` positions, [at most rows, vocab]: they
// are large, so not those of all positions.
std::vector<Tensor> LastLogits(CausalLm& model, const std::vector<std::vector<int32_t>>& prompts, int64_t rows);

struct LogitError {
  double max = 0, mean = 0;  // of |a - b|; NaN if any is
  int64_t positions = 0;
  int64_t same_best = 0;  // positions where both prefer the same token
};
// The same shapes on both sides.
LogitError CompareLogits(const std::vector<Tensor>& a, const std::vector<Tensor>& b);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_LOGIT_ERROR_H_
