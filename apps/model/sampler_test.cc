#include "apps/model/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

constexpr int kDraws = 20000;

// How often each token comes out at positions 0, 1, ...
std::map<int32_t, int> Draw(const SamplerOptions& options, const std::vector<float>& logits) {
  const Sampler sampler(options);
  std::map<int32_t, int> counts;
  for (int64_t position = 0; position < kDraws; ++position) ++counts[*sampler.Sample(logits, position)];
  return counts;
}

// Logits of the probabilities 0.5, 0.3, 0.15, 0.05, in another order of ids.
const std::vector<float> kLogits = {std::log(0.15f), std::log(0.5f), std::log(0.05f), std::log(0.3f)};

TEST(SamplerTest, TemperatureZeroTakesTheLargestLogitAndTheLowestIdOfEquals) {
  EXPECT_EQ(*Sampler({.temperature = 0}).Sample(kLogits, 5), 1);
  EXPECT_EQ(*Sampler({.temperature = 0}).Sample({1, 3, 3, 2}, 5), 1);
}

TEST(SamplerTest, TemperatureOneDrawsFromTheModelsOwnDistribution) {
  std::map<int32_t, int> counts = Draw({.temperature = 1}, kLogits);
  const double want[] = {0.15, 0.5, 0.05, 0.3};
  for (int32_t id = 0; id < 4; ++id) {
    const double sigma = std::sqrt(want[id] * (1 - want[id]) / kDraws);
    EXPECT_NEAR(static_cast<double>(counts[id]) / kDraws, want[id], 5 * sigma) << id;
  }
}

TEST(SamplerTest, ALowerTemperatureSharpensByThePowerOneOverT) {
  // p^2 / sum p^2 of the most probable token.
  const double want = 0.25 / (0.25 + 0.09 + 0.0225 + 0.0025);
  std::map<int32_t, int> counts = Draw({.temperature = 0.5}, kLogits);
  EXPECT_NEAR(static_cast<double>(counts[1]) / kDraws, want, 0.02);
}

TEST(SamplerTest, TopPKeepsTheFewestTokensThatReachIt) {
  std::map<int32_t, int> counts = Draw({.temperature = 1, .top_p = 0.7}, kLogits);
  EXPECT_EQ(counts[0] + counts[2], 0);
  EXPECT_NEAR(static_cast<double>(counts[1]) / kDraws, 0.5 / 0.8, 0.02);
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.4}, kLogits).size(), 1u);
}

TEST(SamplerTest, TopPTakesTheLowerIdsOfEquals) {
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.5}, {0, 0, 0, 0}).rbegin()->first, 1);
}

TEST(SamplerTest, TheSameSeedAndPositionGiveTheSameToken) {
  const std::vector<float> flat(1000, 0.0f);
  const Sampler a({.temperature = 1, .seed = 7}), b({.temperature = 1, .seed = 7}), c({.temperature = 1, .seed = 8});
  int same = 0;
  for (int64_t position = 0; position < 100; ++position) {
    EXPECT_EQ(*a.Sample(flat, position), *b.Sample(flat, position));
    same += *a.Sample(flat, position) == *c.Sample(flat, position) ? 1 : 0;
  }
  EXPECT_LT(same, 5);
}

TEST(SamplerTest, MaskedTokensAreNeverDrawn) {
  const float none = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(Draw({.temperature = 2}, {none, 0, none}).size(), 1u);
}

TEST(SamplerTest, NanAndInfinityAreErrorsThatNameThePosition) {
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const absl::StatusOr<int32_t> id = Sampler({.temperature = 1}).Sample({0, bad}, 12);
    EXPECT_EQ(id.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(std::string(id.status().message()).find("position 12"), std::string::npos);
  }
}

TEST(SamplerTest, OptionsOutOfRangeAreRefused) {
  EXPECT_TRUE(Validate({.temperature = 0, .top_p = 1}).ok());
  EXPECT_FALSE(Validate({.temperature = -1}).ok());
  EXPECT_FALSE(Validate({.temperature = std::nan("")}).ok());
  EXPECT_FALSE(Validate({.top_p = 0}).ok());
  EXPECT_FALSE(Validate({.top_p = 1.5}).ok());
}

}  // namespace
}  // namespace lorikeet
