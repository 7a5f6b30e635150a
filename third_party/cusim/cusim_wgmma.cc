#include "third_party/cusim/cusim_wgmma.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "third_party/cusim/cusim_mma.h"

namespace cusim {
namespace {

constexpr uintptr_t kGroupBytes = 1024;  // 8 rows of 128 bytes

// Where hardware finds the 16-byte piece of a linear address: bits 4 to 6 are changed by bits 7 to 9.
uint16_t ElementAt(uintptr_t linear) {
  const uintptr_t at = linear ^ (linear >> 7 & 7) << 4;
  uint16_t bits;
  std::memcpy(&bits, reinterpret_cast<const void*>(at), sizeof bits);
  return bits;
}

uint16_t KMajorElement(const SharedMatrix& m, int row, int k) {
  const uintptr_t base = reinterpret_cast<uintptr_t>(m.data);
  return ElementAt(base + static_cast<uintptr_t>(row / 8) * kGroupBytes + static_cast<uintptr_t>(row % 8) * 128 +
                   static_cast<uintptr_t>(k) * 2);
}

uint16_t MnMajorElement(const SharedMatrix& m, int column, int k) {
  const uintptr_t base = reinterpret_cast<uintptr_t>(m.data);
  return ElementAt(base + static_cast<uintptr_t>(column / 64) * m.leading_bytes +
                   static_cast<uintptr_t>(k / 8) * kGroupBytes + static_cast<uintptr_t>(k % 8) * 128 +
                   static_cast<uintptr_t>(column % 64) * 2);
}

// One warp's rows: lane 4 * g + t holds them as for an mma.
void RunWgmma(void* const lanes[32]) {
  const WgmmaCall& first = *static_cast<const WgmmaCall*>(lanes[0]);
  const int row0 = static_cast<int>(threadIdx.x / 32 % 4) * 16;
  float a[16][16];
  for (int l = 0; l < 32; ++l) {
    const uint32_t* registers = static_cast<const WgmmaCall*>(lanes[l])->a_registers;
    for (int i = 0; i < 8; ++i) {
      const int row = l / 4 + i / 2 % 2 * 8, k = 2 * (l % 4) + i % 2 + i / 4 * 8;
      const uint16_t bits = registers == nullptr ? KMajorElement(first.a, row0 + row, k)
                                                 : static_cast<uint16_t>(registers[i / 2] >> i % 2 * 16);
      a[row][k] = HalfToFloat(first.f16, bits);
    }
  }
  for (int n = 0; n < first.columns; ++n) {
    float b[16];
    for (int k = 0; k < 16; ++k) {
      b[k] = HalfToFloat(first.f16, first.mn_major_b ? MnMajorElement(first.b, n, k) : KMajorElement(first.b, n, k));
    }
    for (int row = 0; row < 16; ++row) {
      const WgmmaCall& lane = *static_cast<const WgmmaCall*>(lanes[row % 8 * 4 + n % 8 / 2]);
      float& c = lane.c[n / 8 * 4 + row / 8 * 2 + n % 2];
      float sum = lane.accumulate ? c : 0.0f;
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k];
      c = sum;
    }
  }
}

}  // namespace

void Wgmma(WgmmaCall* call) {
  ExpectAligned("wgmma", call->b.data);
  RunWarp(RunWgmma, call);
}

}  // namespace cusim
