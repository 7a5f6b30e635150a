#include "apps/training/loss_svg.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

// A loss that falls with noise, as real ones do.
LossPlot Falling(int64_t steps) {
  LossPlot plot = {.title = "SmolLM2-135M-Instruct · qlora, r = 16", .train = {}, .eval = {}};
  const auto mean = [&](double step) { return 1.1 + 1.2 * std::exp(-6.0 * step / static_cast<double>(steps)); };
  for (int64_t step = 1; step <= steps; ++step) {
    const double x = static_cast<double>(step), hash = 43758.5453 * std::sin(12.9898 * x);
    const double noise = 4 * (hash - std::floor(hash)) - 2;
    plot.train.push_back({step, mean(x) * (1 + 0.05 * noise)});
  }
  for (int64_t i = 0; i <= 4; ++i)
    plot.eval.push_back({i * steps / 4, mean(static_cast<double>(i * steps / 4)) + 0.05});
  return plot;
}

int Count(const std::string& text, const std::string& what) {
  int n = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++n;
  return n;
}

// The points of the i-th polyline.
std::vector<std::pair<double, double>> Points(const std::string& svg, int i) {
  size_t at = 0;
  for (; i >= 0; --i) at = svg.find(" points=\"", at) + 9;
  std::vector<std::pair<double, double>> points;
  const char* p = svg.c_str() + at;
  while (*p != '"') {
    char* end = nullptr;
    const double x = std::strtod(p, &end);
    const double y = std::strtod(end + 1, &end);
    points.emplace_back(x, y);
    p = *end == ' ' ? end + 1 : end;
  }
  return points;
}

TEST(RoundTicksTest, AreRoundAndCoverTheRange) {
  EXPECT_EQ(RoundTicks(0, 200, 6), (std::vector<double>{0, 50, 100, 150, 200}));
  EXPECT_EQ(RoundTicks(1.13, 2.4, 5), (std::vector<double>{1, 1.5, 2, 2.5}));
  for (double low : {-3.0, 0.0, 0.001, 1.7}) {
    for (double span : {0.0, 1e-6, 0.3, 17.0, 1e5}) {
      const std::vector<double> ticks = RoundTicks(low, low + span, 5);
      ASSERT_GE(ticks.size(), 2u);
      ASSERT_LE(ticks.size(), 9u);
      EXPECT_LE(ticks.front(), low + 1e-6 * span);
      EXPECT_GE(ticks.back(), low + span - 1e-6 * span);
    }
  }
}

TEST(LossSvgTest, ShowsEveryPartOfARun) {
  const std::string svg = LossSvg(Falling(200));
  EXPECT_EQ(Points(svg, 0).size(), 200u);
  EXPECT_EQ(Count(svg, "<polyline"), 3);
  EXPECT_EQ(Count(svg, "r=\"4.5\""), 5);
  EXPECT_TRUE(absl::StrContains(svg, ">2.350<") && absl::StrContains(svg, ">150<")) << svg;
  EXPECT_EQ(svg, LossSvg(Falling(200))) << "the same numbers give the same bytes";
}

TEST(LossSvgTest, AFallingLossRunsDownwardsInsideTheFrame) {
  const auto smooth = Points(LossSvg(Falling(200)), 1);
  EXPECT_LT(smooth.front().first, smooth.back().first);
  EXPECT_LT(smooth.front().second, smooth.back().second - 100);  // y grows downwards
  for (const auto& [x, y] : smooth) {
    ASSERT_TRUE(x >= 72 && x <= 832 && y >= 75 && y <= 420) << x << " " << y;
  }
}

TEST(LossSvgTest, TheFrameEndsWithTheRunNotWithATick) {
  for (int64_t steps : {7, 130, 210, 1999}) {
    const std::string svg = LossSvg(Falling(steps));
    EXPECT_NEAR(Points(svg, 1).back().first, 832, 0.1) << steps;
    EXPECT_FALSE(absl::StrContains(svg, ">0.5</text>")) << "no room is given to losses that do not occur";
  }
}

TEST(LossSvgTest, LongRunsStaySmall) {
  const std::string svg = LossSvg(Falling(100000));
  EXPECT_LT(svg.size(), 100000u);
  EXPECT_EQ(Points(svg, 1).back().first, Points(LossSvg(Falling(200)), 1).back().first);
}

TEST(LossSvgTest, WithstandsAnything) {
  LossPlot plot = {.title = "<&\">\x01", .train = {}, .eval = {}};
  EXPECT_TRUE(absl::StrContains(LossSvg(plot), "&lt;&amp;&quot;&gt; </title>"));
  plot.train = {{1, std::nan("")}, {2, HUGE_VAL}, {3, 1e30}};
  plot.eval = {{0, 2}};
  for (const LossPlot& p : {plot, LossPlot{.title = "", .train = {{1, 2}, {2, 2}}, .eval = {}}}) {
    const std::string svg = LossSvg(p);
    EXPECT_FALSE(absl::StrContains(svg, "nan") || absl::StrContains(svg, "inf")) << svg;
  }
}

// Not a check: TEST_UNDECLARED_OUTPUTS_DIR gets the picture, for eyes.
TEST(LossSvgTest, LeavesAPictureToLookAt) {
  const char* dir = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
  if (dir == nullptr) GTEST_SKIP() << "no TEST_UNDECLARED_OUTPUTS_DIR";
  std::ofstream file(absl::StrCat(dir, "/loss.svg"));
  file << LossSvg(Falling(200));
  EXPECT_TRUE(file.good());
}

}  // namespace
}  // namespace lorikeet
