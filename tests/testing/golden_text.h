// What a file of golden logits and greedy text says of a real model (tests/golden/README.md, smollm2/ and
// gemma3_270m/): tensors prompt.N i32 [n], columns i32 [c], logits f32 [prompts, c] of each prompt's last token, greedy
// i32 [prompts, m].
//
//   EXPECT_LE(LargestLogitError(lm, golden, /*prompts=*/5), 1e-3);       // infinite if a logit is not a number
//   EXPECT_EQ(GreedyTokens(lm, golden, "prompt.0", 64), ...);
//
// The model computes on the CPU in f32.
#ifndef LORIKEET_TESTS_TESTING_GOLDEN_TEXT_H_
#define LORIKEET_TESTS_TESTING_GOLDEN_TEXT_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "nn/batch.h"
#include "nn/causal_lm.h"
#include "nn/kv_cache.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/reduce.h"
#include "tensor/tensor.h"

namespace lorikeet {

inline std::vector<int32_t> GoldenIds(const SafetensorsFile& golden, const std::string& name) {
  const Tensor t = *golden.Read(name);
  return {t.data<int32_t>().begin(), t.data<int32_t>().end()};
}

// Logits of the last token, [1, vocab].
inline Tensor LastLogits(CausalLm& lm, absl::Span<const int32_t> tokens, KvCache* cache) {
  const int64_t first = cache != nullptr ? cache->length() : 0;
  const Tensor h = lm.Hidden(OneSequence(tokens, first, kCpu), cache).value();
  return lm.Logits(h.Slice(0, h.dim(0) - 1, h.dim(0)));
}

inline double LargestLogitError(CausalLm& lm, const SafetensorsFile& golden, int64_t prompts) {
  const std::vector<int32_t> columns = GoldenIds(golden, "columns");
  const Tensor want = *golden.Read("logits");
  double worst = 0;
  for (int64_t p = 0; p < prompts; ++p) {
    const Tensor logits = LastLogits(lm, GoldenIds(golden, absl::StrCat("prompt.", p)), nullptr);
    for (size_t j = 0; j < columns.size(); ++j) {
      const double got = logits.data<float>()[static_cast<size_t>(columns[j])];
      const double error = std::abs(got - want.data<float>()[static_cast<size_t>(p) * columns.size() + j]);
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
    }
  }
  return worst;
}

// The `count` tokens with the largest logits after a prompt, one after another.
inline std::vector<int32_t> GreedyTokens(CausalLm& lm, const SafetensorsFile& golden, const std::string& prompt,
                                         int64_t count) {
  const ModelConfig& c = lm.config();
  std::vector<int32_t> input = GoldenIds(golden, prompt), tokens;
  KvCache cache(c.num_layers, static_cast<int64_t>(input.size()) + count, c.num_kv_heads, c.head_dim, DType::kF32);
  for (int64_t i = 0; i < count; ++i) {
    input = {tensor::ArgMax(LastLogits(lm, input, &cache)).data<int32_t>()[0]};
    tokens.push_back(input[0]);
  }
  return tokens;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_GOLDEN_TEXT_H_
