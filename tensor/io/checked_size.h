// Arithmetic on sizes that come from a file: nothing wraps around.
//
//   uint64_t bytes;
//   if (!CheckedMul(rows, row_bytes, &bytes) || !CheckedAdd(offset, bytes, &end)) return InvalidArgumentError(...);
//
// Each returns false, leaving *out unspecified, where the true result does not fit in 64 bits.
#ifndef LORIKEET_TENSOR_IO_CHECKED_SIZE_H_
#define LORIKEET_TENSOR_IO_CHECKED_SIZE_H_

#include <cstdint>

namespace lorikeet {

[[nodiscard]] constexpr bool CheckedMul(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}

[[nodiscard]] constexpr bool CheckedAdd(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}

// Rounds x up to a multiple of `alignment`, a power of two.
[[nodiscard]] constexpr bool CheckedAlignUp(uint64_t x, uint64_t alignment, uint64_t* out) {
  if (!CheckedAdd(x, alignment - 1, out)) return false;
  *out &= ~(alignment - 1);
  return true;
}

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_CHECKED_SIZE_H_
