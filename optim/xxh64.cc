#include "optim/xxh64.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace lorikeet {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87u, kPrime2 = 0xC2B2AE3D27D4EB4Fu, kPrime3 = 0x165667B19E3779F9u,
                   kPrime4 = 0x85EBCA77C2B2AE63u, kPrime5 = 0x27D4EB2F165667C5u;

template <typename T>
T Load(const char* p) {  // little-endian, as every machine here is
  T x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

uint64_t Round(uint64_t accumulator, uint64_t lane) { return std::rotl(accumulator + lane * kPrime2, 31) * kPrime1; }

// Four lanes of 8 bytes; returns their merged state and moves p behind the last whole stripe.
uint64_t Stripes(const char*& p, const char* end, uint64_t seed) {
  uint64_t a[4] = {seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1};
  for (; end - p >= 32; p += 32) {
    for (int i = 0; i < 4; ++i) a[i] = Round(a[i], Load<uint64_t>(p + 8 * i));
  }
  uint64_t h = std::rotl(a[0], 1) + std::rotl(a[1], 7) + std::rotl(a[2], 12) + std::rotl(a[3], 18);
  for (const uint64_t lane : a) h = (h ^ Round(0, lane)) * kPrime1 + kPrime4;
  return h;
}

}  // namespace

uint64_t Xxh64(absl::Span<const char> data, uint64_t seed) {
  const char* p = data.data();
  const char* const end = p + data.size();
  uint64_t h = data.size() >= 32 ? Stripes(p, end, seed) : seed + kPrime5;
  h += data.size();
  for (; end - p >= 8; p += 8) h = std::rotl(h ^ Round(0, Load<uint64_t>(p)), 27) * kPrime1 + kPrime4;
  if (end - p >= 4) {
    h = std::rotl(h ^ (Load<uint32_t>(p) * kPrime1), 23) * kPrime2 + kPrime3;
    p += 4;
  }
  for (; p < end; ++p) h = std::rotl(h ^ (static_cast<unsigned char>(*p) * kPrime5), 11) * kPrime1;
  h = (h ^ (h >> 33)) * kPrime2;
  h = (h ^ (h >> 29)) * kPrime3;
  return h ^ (h >> 32);
}

}  // namespace lorikeet
