// Which unit of the processor multiplies bf16.
#include <cpuid.h>

#include "tensor/kernels/matmul_tile.h"

namespace lorikeet::internal {
namespace {

// What cpuid says of leaf 7: AMX-BF16 and AMX-TILE.
bool ProcessorHasAmx() {
  constexpr unsigned kBF16 = 1u << 22, kTile = 1u << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kBF16) != 0 && (d & kTile) != 0;
}

}  // namespace

bool HaveAmx() {
  static const bool have = ProcessorHasAmx() && MayUseAmx();
  return have && HaveBF16Dot();
}

void StripBF16(const Strip& s) { HaveAmx() ? StripBF16Amx(s) : StripBF16Avx512(s); }

}  // namespace lorikeet::internal
