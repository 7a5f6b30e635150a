// The 8-bit blocks of quant/blockwise8.h in CUDA kernels: the nearest entry of a map, and a block's scale. The same
// bits.
//
//   CUDA_SHARED(float[256], thresholds);  LoadThresholds(map, thresholds);  __syncthreads();
//   const float scale = ScaleOf(BlockReduce(MagnitudeBits(x), 0u, ...));
//   code = scale > 0 ? NearestCode(thresholds, x / scale) : 0;
//
// A map comes with the launch, as a parameter: 1 kB. Compile with -fmad=false. Only for .cu files.
#ifndef LORIKEET_QUANT_BLOCKWISE8_CUDA_H_
#define LORIKEET_QUANT_BLOCKWISE8_CUDA_H_

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

struct Map8Values {
  float v[256];
  explicit Map8Values(const std::array<float, 256>& map) { std::memcpy(v, map.data(), sizeof v); }
};

// threshold c lies between entries c and c + 1. The threads of a block share the work; the caller synchronises.
__device__ inline void LoadThresholds(const Map8Values& map, float* thresholds) {
  for (int c = static_cast<int>(threadIdx.x); c < 255; c += static_cast<int>(blockDim.x)) {
    thresholds[c] = (map.v[c] + map.v[c + 1]) * 0.5f;
  }
}

// How many thresholds lie below t: eight steps of bisection.
__device__ inline uint8_t NearestCode(const float* thresholds, float t) {
  int code = 0;
  for (int step = 128; step > 0; step /= 2) code += t > thresholds[code + step - 1] ? step : 0;
  return static_cast<uint8_t>(code);
}

// The bits of |x| order like |x|, with infinity and NaN above every number.
__device__ inline uint32_t MagnitudeBits(float x) { return std::bit_cast<uint32_t>(x) & 0x7fffffffu; }
// NaN for a block that holds one, or an infinity.
__device__ inline float ScaleOf(uint32_t largest_bits) {
  return std::bit_cast<float>(largest_bits >= 0x7f800000u ? 0x7fc00000u : largest_bits);
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_QUANT_BLOCKWISE8_CUDA_H_
