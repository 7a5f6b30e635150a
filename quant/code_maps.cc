#include "quant/code_maps.h"

#include <algorithm>
#include <cmath>

namespace lorikeet {
namespace {

// Boundary j of the k equal intervals of [0.1, 1]. Counted from the nearer end and with one rounding, as the captured
// maps of bitsandbytes have it: another order of operations differs in the last bit of some entries.
float Boundary(int j, int k) {
  const float step = (1.0f - 0.1f) / static_cast<float>(k);
  return j < (k + 1) / 2 ? std::fma(step, static_cast<float>(j), 0.1f)
                         : std::fma(-step, static_cast<float>(k - j), 1.0f);
}

std::array<float, 256> DynamicMap(bool with_sign) {
  constexpr float kDecades[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  std::array<float, 256> map = {};  // holds the zero
  map[1] = 1.0f;
  int n = 2;
  for (int i = 0; i < 7; ++i) {
    const int k = 1 << (with_sign ? i : i + 1);
    for (int j = 0; j < k; ++j) {
      const float midpoint = (Boundary(j, k) + Boundary(j + 1, k)) / 2;
      map[n++] = midpoint * kDecades[i];
      if (with_sign) map[n++] = -midpoint * kDecades[i];
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}

}  // namespace

const std::array<float, 256>& SignedDynamicMap() {
  static const std::array<float, 256> map = DynamicMap(true);
  return map;
}

const std::array<float, 256>& UnsignedDynamicMap() {
  static const std::array<float, 256> map = DynamicMap(false);
  return map;
}

}  // namespace lorikeet
