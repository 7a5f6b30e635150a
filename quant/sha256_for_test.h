// SHA-256 of a run of bytes as lower-case hex, for tests that hold our bytes to published digests (FIPS 180-4).
//
//   Sha256(absl::MakeConstSpan(codes)) == "21186d0a..."
#ifndef LORIKEET_QUANT_SHA256_FOR_TEST_H_
#define LORIKEET_QUANT_SHA256_FOR_TEST_H_

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace lorikeet {

// The first 32 bits of the fractional part of the square or cube root of the n-th prime: its constants' definition.
inline uint32_t RootBits(int nth_prime, bool cube) {
  int p = 1;
  for (int found = 0; found <= nth_prime;) {
    ++p;
    bool prime = true;
    for (int d = 2; d * d <= p; ++d) prime = prime && p % d != 0;
    found += prime;
  }
  const long double root = cube ? cbrtl(static_cast<long double>(p)) : sqrtl(static_cast<long double>(p));
  return static_cast<uint32_t>((root - floorl(root)) * 4294967296.0L);
}

inline void Sha256Block(const uint8_t* block, std::array<uint32_t, 8>& state) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i) {
    const uint8_t* b = block + 4 * i;
    w[i] = uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
  }
  for (int i = 16; i < 64; ++i) {
    const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  static const std::array<uint32_t, 64> k = [] {
    std::array<uint32_t, 64> roots;
    for (int i = 0; i < 64; ++i) roots[i] = RootBits(i, true);
    return roots;
  }();
  std::array<uint32_t, 8> s = state;
  for (int i = 0; i < 64; ++i) {
    const uint32_t e1 = std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25);
    const uint32_t t1 = s[7] + e1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
    const uint32_t e0 = std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22);
    const uint32_t t2 = e0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    s = {t1 + t2, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]};
  }
  for (int i = 0; i < 8; ++i) state[i] += s[i];
}

template <typename T>
std::string Sha256(absl::Span<const T> values) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(values.data());
  const uint64_t size = values.size() * sizeof(T);
  std::vector<uint8_t> padded(bytes, bytes + size);
  padded.push_back(0x80);
  while (padded.size() % 64 != 56) padded.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8) padded.push_back(static_cast<uint8_t>(size * 8 >> shift));
  std::array<uint32_t, 8> state;
  for (int i = 0; i < 8; ++i) state[i] = RootBits(i, false);
  for (size_t i = 0; i < padded.size(); i += 64) Sha256Block(&padded[i], state);
  std::string hex;
  char word[9];
  for (uint32_t s : state) {
    std::snprintf(word, sizeof word, "%08x", s);
    hex += word;
  }
  return hex;
}

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_SHA256_FOR_TEST_H_
