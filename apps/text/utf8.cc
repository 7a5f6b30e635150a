#include "apps/text/utf8.h"

#include <algorithm>
#include <cstdint>

namespace lorikeet::text {
namespace {

constexpr Utf8Step kReplacement = {0xFFFD, 1, false, false};

struct Lead {
  int length;            // bytes of the whole character; 0 for a byte that begins none
  uint8_t low, high;     // what the second byte may be
  uint8_t payload_mask;  // the lead byte's own bits
};

Lead ClassifyLead(uint8_t b) {
  if (b >= 0xC2 && b <= 0xDF) return {2, 0x80, 0xBF, 0x1F};
  if (b >= 0xE0 && b <= 0xEF) {
    return {3, static_cast<uint8_t>(b == 0xE0 ? 0xA0 : 0x80), static_cast<uint8_t>(b == 0xED ? 0x9F : 0xBF), 0x0F};
  }
  if (b >= 0xF0 && b <= 0xF4) {
    return {4, static_cast<uint8_t>(b == 0xF0 ? 0x90 : 0x80), static_cast<uint8_t>(b == 0xF4 ? 0x8F : 0xBF), 0x07};
  }
  return {0, 0, 0, 0};
}

}  // namespace

Utf8Step DecodeUtf8(absl::string_view text, size_t pos) {
  const uint8_t first = static_cast<uint8_t>(text[pos]);
  if (first < 0x80) return {first, 1, true, false};
  const Lead lead = ClassifyLead(first);
  if (lead.length == 0) return kReplacement;
  char32_t c = first & lead.payload_mask;
  for (int i = 1; i < lead.length; ++i) {
    if (pos + i >= text.size()) return {0xFFFD, i, false, true};
    const uint8_t b = static_cast<uint8_t>(text[pos + i]);
    const uint8_t low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xBF;
    if (b < low || b > high) return {0xFFFD, i, false, false};
    c = (c << 6) | (b & 0x3F);
  }
  return {c, lead.length, true, false};
}

void AppendUtf8(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (c >> 6)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (c >> 12)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (c >> 18)));
    out->push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

bool IsValidUtf8(absl::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    if (!step.valid) return false;
    pos += step.length;
  }
  return true;
}

std::string ReplaceInvalidUtf8(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    AppendUtf8(step.code_point, &out);
    pos += step.length;
  }
  return out;
}

size_t IncompleteUtf8Suffix(absl::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const Utf8Step step = DecodeUtf8(text, text.size() - back);
    if (step.truncated && static_cast<size_t>(step.length) == back) return back;
  }
  return 0;
}

bool IsUnicodeWhitespace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace lorikeet::text
