#include "apps/text/byte_map.h"

#include <array>

#include "apps/text/utf8.h"

namespace lorikeet::text {
namespace {

constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Tables {
  std::array<char32_t, 256> char_of_byte{};
  std::array<int, 256 + 68> byte_of_char{};
};

constexpr Tables MakeTables() {
  Tables t;
  for (int& b : t.byte_of_char) b = -1;
  char32_t next = 256;
  for (int b = 0; b < 256; ++b) {
    const char32_t c = StandsForItself(b) ? static_cast<char32_t>(b) : next++;
    t.char_of_byte[b] = c;
    t.byte_of_char[c] = b;
  }
  return t;
}

constexpr Tables kTables = MakeTables();

}  // namespace

char32_t ByteToChar(uint8_t byte) { return kTables.char_of_byte[byte]; }

int CharToByte(char32_t c) { return c < kTables.byte_of_char.size() ? kTables.byte_of_char[c] : -1; }

std::string MapBytes(absl::string_view bytes) {
  std::string out;
  for (const char b : bytes) AppendUtf8(ByteToChar(static_cast<uint8_t>(b)), &out);
  return out;
}

absl::optional<std::string> UnmapToken(absl::string_view token) {
  std::string out;
  for (size_t pos = 0; pos < token.size();) {
    const Utf8Step step = DecodeUtf8(token, pos);
    const int byte = step.valid ? CharToByte(step.code_point) : -1;
    if (byte < 0) return absl::nullopt;
    out.push_back(static_cast<char>(byte));
    pos += step.length;
  }
  return out;
}

}  // namespace lorikeet::text
