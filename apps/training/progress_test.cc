#include "apps/training/progress.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

const ProgressLine kLine = {.step = 120,
                            .loss = 1.2341,
                            .lr = 1.8e-4,
                            .grad_norm = 0.52,
                            .tokens_per_second = 412.3,
                            .fraction_of_peak = 0.43,
                            .resident_bytes = 1200000000};

// What a printer writes to a stream.
template <typename F>
std::string Output(ProgressOptions options, F body) {
  char* text = nullptr;
  size_t size = 0;
  options.out = open_memstream(&text, &size);
  {
    ProgressPrinter progress(200, options);
    body(progress);
  }
  std::fclose(options.out);
  const std::string output(text, size);
  std::free(text);
  return output;
}

int Columns(const std::string& text) {
  int n = 0;
  for (char c : text) n += (c & 0xc0) != 0x80;
  return n;
}

TEST(ProgressTest, AFileGetsPlainLines) {
  const std::string text = Output({.terminal = false, .utf8 = true, .columns = 100}, [](ProgressPrinter& progress) {
    for (int64_t step : {116, 117, 118, 119}) {
      ProgressLine line = kLine;
      line.step = step, line.loss = 1.5 - 0.01 * static_cast<double>(step - 116);
      progress.Report(line, 2.4 * static_cast<double>(step));
    }
    progress.Report(kLine, 2.4 * 120);
  });
  EXPECT_TRUE(absl::EndsWith(text,
                             "\nstep 120/200  loss 1.234 ↓  lr 1.80e-04  grad 0.52  412 tok/s  43% of peak  1.20 GB"
                             "  eta 3m12s\n"))
      << text;
  EXPECT_FALSE(absl::StrContains(text, "\r") || absl::StrContains(text, "\x1b"));
}

TEST(ProgressTest, WithoutUtf8ThereIsOnlyAscii) {
  for (bool terminal : {false, true}) {
    const std::string text = Output({.terminal = terminal, .columns = 100}, [](ProgressPrinter& progress) {
      for (int i = 0; i < 8; ++i) progress.Report(kLine, i);
    });
    for (char c : text) ASSERT_GE(c, 0) << text;
    EXPECT_TRUE(absl::StrContains(text, "loss 1.234 -")) << text;
  }
}

TEST(ProgressTest, ATerminalsLineIsDrawnOverAndNotesStandAbove) {
  const std::string text = Output({.terminal = true, .utf8 = true, .columns = 100}, [](ProgressPrinter& progress) {
    progress.Report(kLine, 1);
    progress.Note("eval loss 1.187");
    progress.Report(kLine, 2);
  });
  EXPECT_TRUE(absl::StartsWith(text, "\r120/200 ━━━━")) << text;
  EXPECT_TRUE(absl::StrContains(text, "\r\x1b[Keval loss 1.187\n120/200")) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_EQ(text.back(), '\n');
}

TEST(ProgressTest, NoLineIsWiderThanTheTerminal) {
  for (bool terminal : {false, true}) {
    for (int columns = 20; columns <= 300; ++columns) {
      ProgressPrinter progress(200, {.terminal = terminal, .utf8 = true, .columns = columns});
      const std::string line = progress.Format(kLine);
      ASSERT_LT(Columns(line), std::min(columns, 100)) << line;
      ASSERT_TRUE(absl::StrContains(line, "120/200")) << line;
    }
  }
}

TEST(ProgressTest, EveryTenthStepAndTheLastArePrinted) {
  const std::string text = Output({.columns = 100, .every = 10}, [](ProgressPrinter& progress) {
    for (int64_t step = 171; step <= 200; ++step) progress.Report({.step = step}, static_cast<double>(step));
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
  EXPECT_TRUE(absl::StrContains(text, "step 200/200")) << text;
}

TEST(LossTrendTest, SeesThroughNoise) {
  const auto series = [](double slope) {
    std::vector<double> losses;
    for (int i = 0; i < 200; ++i) losses.push_back(2 + slope * i + 0.1 * std::sin(12.9898 * i));
    return losses;
  };
  EXPECT_EQ(LossTrend(series(-0.01)), Trend::kFalls);
  EXPECT_EQ(LossTrend(series(0.01)), Trend::kRises);
  EXPECT_EQ(LossTrend(series(0)), Trend::kFlat);
  EXPECT_EQ(LossTrend({1, 2, 3}), Trend::kUnknown);
  EXPECT_EQ(LossTrend({1, 2, std::nan(""), 3}), Trend::kUnknown);
}

}  // namespace
}  // namespace lorikeet
