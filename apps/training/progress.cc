#include "apps/training/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "apps/training/number_text.h"

namespace lorikeet {
namespace {

constexpr int kMaxColumns = 100;
constexpr int kBarWidth = 20;
constexpr size_t kClockReports = 20;

// The first of the three that is set decides, as setlocale(3) has it.
bool LocaleIsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string lower = absl::AsciiStrToLower(value);
    return absl::StrContains(lower, "utf-8") || absl::StrContains(lower, "utf8");
  }
  return false;
}

// Of UTF-8 text without wide or combining characters.
int Columns(absl::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

const char* Arrow(Trend trend, bool utf8) {
  switch (trend) {
    case Trend::kFalls:
      return utf8 ? " ↓" : " v";
    case Trend::kFlat:
      return utf8 ? " →" : " -";
    case Trend::kRises:
      return utf8 ? " ↑" : " ^";
    default:
      return "  ";  // the line does not jump when the arrow comes
  }
}

// "1.80e-04", whatever the locale's decimal point.
std::string Scientific(double value) {
  std::string text = absl::StrFormat("%.2e", value);
  std::replace(text.begin(), text.end(), ',', '.');
  return text;
}

double Mean(std::vector<double>::const_iterator begin, std::vector<double>::const_iterator end) {
  return std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin);
}

}  // namespace

ProgressOptions ProgressOptionsFor(std::FILE* out) {
  ProgressOptions options;
  options.out = out;
  const char* term = std::getenv("TERM");
  options.terminal = ::isatty(::fileno(out)) && term != nullptr && absl::string_view(term) != "dumb";
  options.utf8 = LocaleIsUtf8();
  winsize size = {};
  options.columns = kMaxColumns;
  if (options.terminal && ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    options.columns = size.ws_col;
  }
  return options;
}

Trend LossTrend(const std::vector<double>& losses) {
  const int64_t n = static_cast<int64_t>(losses.size());
  const int64_t window = std::clamp<int64_t>(n / 8, 2, 50);
  if (n < 2 * window) return Trend::kUnknown;
  const double now = Mean(losses.end() - window, losses.end());
  const double before = Mean(losses.end() - 2 * window, losses.end() - window);
  const auto [low, high] = std::minmax_element(losses.end() - 2 * window, losses.end());
  if (!std::isfinite(now) || !std::isfinite(before)) return Trend::kUnknown;
  const double noise = 0.05 * (*high - *low);
  return now < before - noise ? Trend::kFalls : now > before + noise ? Trend::kRises : Trend::kFlat;
}

ProgressPrinter::ProgressPrinter(int64_t total_steps, ProgressOptions options)
    : total_steps_(total_steps), options_(options) {
  options_.columns = std::clamp(options_.columns, 20, kMaxColumns);
}

std::string ProgressPrinter::Bar(int64_t step, int width) const {
  const int done = static_cast<int>(width * std::min(step, total_steps_) / std::max<int64_t>(total_steps_, 1));
  std::string bar;
  for (int i = 0; i < width; ++i) {
    absl::StrAppend(&bar, options_.utf8 ? (i < done ? "━" : "─") : (i < done ? "=" : "-"));
  }
  return bar;
}

double ProgressPrinter::SecondsLeft(int64_t step) const {
  if (clock_.size() < 2) return std::nan("");
  const auto [first, began] = clock_.front();
  const auto [last, now] = clock_.back();
  return (now - began) / static_cast<double>(last - first) * static_cast<double>(total_steps_ - step);
}

std::string ProgressPrinter::Format(const ProgressLine& line) const {
  const std::string total = absl::StrCat(total_steps_);
  const std::string count = absl::StrFormat("%*d/%s", static_cast<int>(total.size()), line.step, total);
  // In the order of their worth.
  std::vector<std::string> parts = {
      absl::StrCat("loss ", FixedDouble(line.loss, 3), Arrow(LossTrend(losses_), options_.utf8)),
      absl::StrCat("lr ", Scientific(line.lr)),
      absl::StrCat("grad ", FixedDouble(line.grad_norm, 2)),
      absl::StrCat(FixedDouble(line.tokens_per_second, 0), " tok/s"),
  };
  if (line.fraction_of_peak > 0) parts.push_back(FixedDouble(100 * line.fraction_of_peak, 0) + "% of peak");
  if (line.resident_bytes > 0) parts.push_back(HumanBytes(line.resident_bytes));
  const double left = SecondsLeft(line.step);
  const std::string eta = std::isnan(left) ? "" : absl::StrCat("  eta ", HumanDuration(left));
  std::string text;
  for (const std::string& part : parts) absl::StrAppend(&text, "  ", part);
  const std::string head = options_.terminal ? count : absl::StrCat("step ", count);
  const int width = options_.columns - 1;  // a full last column wraps on some terminals
  while (!parts.empty() && Columns(head) + Columns(text) + Columns(eta) > width) {
    text.resize(text.size() - parts.back().size() - 2);
    parts.pop_back();
  }
  const int room = width - Columns(head) - Columns(text) - Columns(eta) - 1;
  const std::string bar = options_.terminal && room >= 6 ? " " + Bar(line.step, std::min(room, kBarWidth)) : "";
  return absl::StrCat(head, bar, text, eta);
}

void ProgressPrinter::Report(const ProgressLine& line, double seconds) {
  losses_.push_back(line.loss);
  clock_.emplace_back(line.step, seconds);
  if (clock_.size() > kClockReports) clock_.pop_front();
  if (!options_.terminal && line.step % options_.every != 0 && line.step != total_steps_) return;
  const std::string text = Format(line);
  if (options_.terminal) {
    std::fprintf(options_.out, "\r%s\x1b[K", text.c_str());
    drawn_ = text;
  } else {
    std::fprintf(options_.out, "%s\n", text.c_str());
  }
  std::fflush(options_.out);
}

void ProgressPrinter::Note(absl::string_view text) {
  const std::string line(text);
  if (!drawn_.empty()) std::fprintf(options_.out, "\r\x1b[K");
  std::fprintf(options_.out, "%s\n%s", line.c_str(), drawn_.c_str());
  std::fflush(options_.out);
}

void ProgressPrinter::Finish() {
  if (!drawn_.empty()) std::fprintf(options_.out, "\n");
  std::fflush(options_.out);
  drawn_.clear();
}

}  // namespace lorikeet
