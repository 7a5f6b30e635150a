#include "apps/text/permutation.h"

#include "tensor/check.h"

namespace lorikeet::text {
namespace {

// With fewer rounds or bits some orders of a handful of items come up visibly more often than others.
constexpr int kSmallestHalf = 4;
constexpr uint64_t kRounds = 8;

}  // namespace

int64_t Permute(RngKey key, int64_t n, int64_t i) {
  LORIKEET_CHECK(0 <= i && i < n && n < (int64_t{1} << 62)) << "Permute: i " << i << " of n " << n;
  int half = kSmallestHalf;
  while ((int64_t{1} << (2 * half)) < n) ++half;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t x = static_cast<uint64_t>(i);
  do {
    uint64_t left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t next = left ^ (Philox(key.Fold(round), right).v[0] & mask);
      left = right;
      right = next;
    }
    x = (left << half) | right;
  } while (x >= static_cast<uint64_t>(n));
  return static_cast<int64_t>(x);
}

}  // namespace lorikeet::text
