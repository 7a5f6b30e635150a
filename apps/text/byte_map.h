// The byte alphabet of byte-level BPE: every byte is written as one printable character, so that a vocabulary file is
// text. Bytes 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves as U+0021..U+00FF; the other 68, in increasing
// order, are U+0100, U+0101, ... (space is U+0120, line feed U+010A). Source: GPT-2's encoder (Radford et al., 2019).
//
//   MapBytes(" a") == "\u0120a";   UnmapToken("\u0120a") == " a";   UnmapToken("\u4e2d") == absl::nullopt
#ifndef LORIKEET_APPS_TEXT_BYTE_MAP_H_
#define LORIKEET_APPS_TEXT_BYTE_MAP_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace lorikeet::text {

char32_t ByteToChar(uint8_t byte);
int CharToByte(char32_t c);  // -1 for a character outside the alphabet

std::string MapBytes(absl::string_view bytes);
// The bytes that a token's text stands for; nothing where a character is outside the alphabet.
absl::optional<std::string> UnmapToken(absl::string_view token);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_BYTE_MAP_H_
