// XXH64: a fast 64-bit checksum (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md). Finds damage, not forgery.
//
//   const uint64_t sum = Xxh64({data, size}, /*seed=*/0);
#ifndef LORIKEET_OPTIM_XXH64_H_
#define LORIKEET_OPTIM_XXH64_H_

#include <cstdint>

#include "absl/types/span.h"

namespace lorikeet {

uint64_t Xxh64(absl::Span<const char> data, uint64_t seed);

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_XXH64_H_
