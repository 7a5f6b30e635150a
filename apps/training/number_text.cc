#include "apps/training/number_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lorikeet {
namespace {

// Three significant digits, with the unit that makes the number at least 1 and less than 1000.
std::string WithUnit(double value, double step, const char* const* units, int num_units, const char* gap) {
  int unit = 0;
  // 999.6 would be printed as 1000.
  while (unit + 1 < num_units && value >= 999.5) value /= step, ++unit;
  const int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return absl::StrCat(FixedDouble(value, digits), gap, units[unit]);
}

}  // namespace

std::string ShortestDouble(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

std::string FixedDouble(double value, int digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[400];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits);
  return std::string(text, end.ptr);
}

std::string HumanBytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  return WithUnit(static_cast<double>(std::max<int64_t>(bytes, 0)), 1000, kUnits, 7, " ");
}

std::string HumanCount(int64_t count) {
  static constexpr const char* kUnits[] = {"", "K", "M", "B", "T"};
  return WithUnit(static_cast<double>(std::max<int64_t>(count, 0)), 1000, kUnits, 5, "");
}

std::string HumanDuration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const int64_t s = std::llround(seconds);
  if (s < 60) return absl::StrCat(s, "s");
  if (s < 3600) return absl::StrFormat("%dm%02ds", s / 60, s % 60);
  if (s < 86400) return absl::StrFormat("%dh%02dm", s / 3600, s / 60 % 60);
  return absl::StrFormat("%dd%02dh", s / 86400, s / 3600 % 24);
}

std::string WithThousands(int64_t value) {
  const std::string digits = absl::StrCat(value);
  const size_t sign = value < 0 ? 1 : 0;
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > sign && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

}  // namespace lorikeet
