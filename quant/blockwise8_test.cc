#include "quant/blockwise8.h"

#include <cmath>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "quant/code_maps.h"
#include "quant/random_for_test.h"
#include "tensor/kernels/parallel.h"
#include "tensor/random.h"

namespace lorikeet {
namespace {

struct Encoded {
  std::vector<uint8_t> codes;
  std::vector<float> scales, decoded;
};

const std::array<float, 256>& MapOf(Map8 map) {
  return map == Map8::kSigned ? SignedDynamicMap() : UnsignedDynamicMap();
}

Encoded RoundTrip(absl::Span<const float> x, int block, Map8 map) {
  Encoded e;
  e.codes.resize(x.size());
  e.scales.resize(NumBlocks(static_cast<int64_t>(x.size()), block));
  e.decoded.resize(x.size());
  EncodeBlocks8(x, block, map, absl::MakeSpan(e.codes), absl::MakeSpan(e.scales));
  DecodeBlocks8(e.codes, e.scales, block, absl::MakeConstSpan(MapOf(map)), absl::MakeSpan(e.decoded));
  return e;
}

// Mean absolute error, and mean relative error.
std::pair<double, double> Errors(absl::Span<const float> x, absl::Span<const float> y) {
  double absolute = 0, relative = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double e = std::fabs(double{x[i]} - double{y[i]});
    absolute += e / x.size();
    relative += e / (std::fabs(x[i]) + 1e-8) / x.size();
  }
  return {absolute, relative};
}

// The definition, by search: the lowest of the nearest entries, measured from the float32 midpoints.
int NearestBySearch(const std::array<float, 256>& map, float t) {
  int c = 0;
  while (c < 255 && t > (map[c] + map[c + 1]) * 0.5f) ++c;
  return c;
}

TEST(Blockwise8Test, EveryCodeIsTheNearestEntry) {
  for (Map8 map : {Map8::kSigned, Map8::kUnsigned}) {
    const auto& table = MapOf(map);
    std::vector<float> x = {1};  // the scale of the one block is 1
    for (int c = 0; c < 255; ++c) {
      const float middle = (table[c] + table[c + 1]) * 0.5f;
      for (float t : {table[c], middle, std::nextafter(middle, 2.0f), std::nextafter(middle, -2.0f)}) x.push_back(t);
    }
    for (float t : Uniform(20000, RngKey{.seed = 3})) x.push_back(map == Map8::kSigned ? 2 * t - 1 : t * t * t * t);
    const Encoded e = RoundTrip(x, 1 << 20, map);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(e.codes[i], NearestBySearch(table, x[i])) << x[i];
  }
}

TEST(Blockwise8Test, ErrorsKeepToThePublishedBounds) {
  const std::vector<float> normal = Normal(1 << 20, RngKey{.seed = 1}), uniform = Uniform(1 << 20, RngKey{.seed = 2});
  for (int block : {64, 256, 2048, 4096}) {
    const auto [n_abs, n_rel] = Errors(normal, RoundTrip(normal, block, Map8::kSigned).decoded);
    EXPECT_LT(n_abs, 0.011) << block;
    EXPECT_LT(n_rel, 0.018) << block;
    const auto [s_abs, s_rel] = Errors(uniform, RoundTrip(uniform, block, Map8::kSigned).decoded);
    EXPECT_LT(s_abs, 0.0036) << block;
    EXPECT_LT(s_rel, 0.015) << block;
    const auto [u_abs, u_rel] = Errors(uniform, RoundTrip(uniform, block, Map8::kUnsigned).decoded);
    EXPECT_LT(u_abs, 0.0023) << block;
    EXPECT_LT(u_rel, 0.012) << block;
  }
}

TEST(Blockwise8Test, AnExactZeroStaysZero) {
  for (Map8 map : {Map8::kSigned, Map8::kUnsigned}) {
    const Encoded e = RoundTrip({0, 1e-3f, 0, 5, 0, 0, 0, 0}, 4, map);
    EXPECT_EQ(e.decoded[0], 0);
    EXPECT_EQ(e.decoded[2], 0);
    EXPECT_EQ(e.scales[1], 0);
    for (int i = 4; i < 8; ++i) EXPECT_EQ(e.decoded[i], 0);
  }
}

TEST(Blockwise8Test, AnExtremeNegativeElementShrinksByTheMapsAsymmetry) {
  const Encoded e = RoundTrip({-2, 2}, 2, Map8::kSigned);
  EXPECT_FLOAT_EQ(e.decoded[0], -2 * 0.99296874f);
  EXPECT_EQ(e.decoded[1], 2);
}

TEST(Blockwise8Test, ANonFiniteElementTurnsItsBlockIntoNanAndNoOther) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    const Encoded e = RoundTrip({1, bad, 3, 4}, 2, Map8::kSigned);
    EXPECT_TRUE(std::isnan(e.decoded[0]) && std::isnan(e.decoded[1]));
    EXPECT_EQ(e.decoded[3], 4);
  }
}

TEST(Blockwise8Test, TheLastBlockMayBeShortAndDenormalScalesWork) {
  const Encoded e = RoundTrip({1, 2, 3, 4, 1e-44f}, 4, Map8::kUnsigned);
  EXPECT_EQ(e.scales.size(), 2u);
  EXPECT_EQ(e.decoded[4], 1e-44f);
  EXPECT_TRUE(RoundTrip({}, 256, Map8::kSigned).codes.empty());
}

TEST(Blockwise8Test, TheNumberOfThreadsDoesNotChangeABit) {
  const std::vector<float> x = Normal(200001, RngKey{.seed = 7});
  SetNumThreads(1);
  const Encoded one = RoundTrip(x, 256, Map8::kSigned);
  for (int threads : {2, 3}) {
    SetNumThreads(threads);
    const Encoded many = RoundTrip(x, 256, Map8::kSigned);
    EXPECT_EQ(one.codes, many.codes);
    EXPECT_EQ(one.scales, many.scales);
    EXPECT_EQ(one.decoded, many.decoded);
  }
}

}  // namespace
}  // namespace lorikeet
