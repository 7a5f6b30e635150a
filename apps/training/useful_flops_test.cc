#include "apps/training/useful_flops.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

TEST(UsefulFlopsTest, PairsAreCountedSequenceBySequence) {
  EXPECT_EQ(CausalPairs(std::vector<int32_t>{0, 1}), 1);
  EXPECT_EQ(CausalPairs(std::vector<int32_t>{0, 3, 3, 7}), 6 + 0 + 10);
  EXPECT_EQ(CausalPairs({}), 0);
}

// Two layers of width 4 by hand. Linear maps: 2 x 48 weights, 10 tokens. Adapters: 2 x 8 weights.
// Attention: 2 heads of 2, sequences of 4 and 6 tokens: 10 + 21 pairs. Head: 5 x 4 weights, 3 rows with a target.
TEST(UsefulFlopsTest, EqualsACountByHand) {
  StepFlops step = {.frozen_linear_weights = 96,
                    .adapter_weights = 16,
                    .tokens = 10,
                    .layers = 2,
                    .heads = 2,
                    .head_dim = 2,
                    .causal_pairs = 31,
                    .head_weights = 20,
                    .target_rows = 3};
  const double attention = 2 /*layers*/ * 2 /*heads*/ * 31 * (6 * 2 * 2.0);
  EXPECT_EQ(UsefulFlopsPerStep(step), 4 * 96 * 10 + 6 * 16 * 10 + attention + 4 * 20 * 3);
  EXPECT_EQ(UsefulFlopsPerStep(step), 3840 + 960 + 2976 + 240);
}

TEST(UsefulFlopsTest, FullFineTuningCostsSixPerWeight) {
  StepFlops step = {
      .trained_linear_weights = 1000, .tokens = 7, .head_weights = 50, .head_trained = true, .target_rows = 2};
  EXPECT_EQ(UsefulFlopsPerStep(step), 6 * 1000 * 7 + 6 * 50 * 2);
}

// SmolLM2-135M at 4 x 256 with rank 16 on every linear map and a loss on every token, counted by hand from its
// config.json: width 576, 9 heads of 64 (3 for keys and values), 1536 inside, 30 layers, 49152 tokens.
TEST(UsefulFlopsTest, AQloraStepOfSmolLm2IsSixHundredGigaflops) {
  const int64_t layer = 576 * 576 * 2 + 576 * 192 * 2 + 576 * 1536 * 3;
  const int64_t adapter = 16 * ((576 + 576) * 2 + (576 + 192) * 2 + (576 + 1536) * 3);
  EXPECT_EQ(30 * layer, 106168320);
  EXPECT_EQ(30 * adapter, 4884480);
  const StepFlops step = {.frozen_linear_weights = 30 * layer,
                          .adapter_weights = 30 * adapter,
                          .tokens = 1024,
                          .layers = 30,
                          .heads = 9,
                          .head_dim = 64,
                          .causal_pairs = 4 * 256 * 257 / 2,
                          .head_weights = 49152 * 576,
                          .target_rows = 1024};
  EXPECT_NEAR(UsefulFlopsPerStep(step), 434.865e9 + 30.010e9 + 27.285e9 + 115.964e9, 0.01e9);
}

}  // namespace
}  // namespace lorikeet
