// A random order without state: Permute(key, n, i) is the i-th of 0..n-1 shuffled by key, in O(1) memory and time. So
// the order of the data is a function of (seed, epoch, index) and a resumed run needs nothing but the index.
//
// An eight-round Feistel network over the smallest even-bit range (at least 256) that holds n, Philox its round
// function; values outside 0..n-1 are walked through again ("cycle walking", Black and Rogaway, 2002), for n > 64 fewer
// than four times on average.
#ifndef LORIKEET_APPS_TEXT_PERMUTATION_H_
#define LORIKEET_APPS_TEXT_PERMUTATION_H_

#include <cstdint>

#include "tensor/random.h"

namespace lorikeet::text {

// 0 <= i < n.
int64_t Permute(RngKey key, int64_t n, int64_t i);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_PERMUTATION_H_
