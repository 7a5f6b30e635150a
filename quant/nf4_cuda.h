// A 4-bit weight inside CUDA kernels: codes, and scales with double quantization undone.
//
//   __global__ void Kernel(Nf4Device w, ...) {
//     CUDA_SHARED(float[16], map);  LoadCodeMap(w, map);
//     ... map[w.Code(i)] * w.Scale(i) ...                              // element i
//     const auto c = CodesOf<8>(w.view.codes, i);  c.At(j)             // elements i .. i + 7, in one load
//
// The table of 16 values is in shared memory, where any 32 look-ups meet no conflict: each value has its own bank.
// Compile with -fmad=false where the bits of nf4_decode.h are asked for. Only for .cu files.
#ifndef LORIKEET_QUANT_NF4_CUDA_H_
#define LORIKEET_QUANT_NF4_CUDA_H_

#include <bit>
#include <cstdint>
#include <type_traits>

#include "quant/nf4_decode.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

// Blocks are powers of two: shifts in place of 64-bit divisions.
struct Nf4Device {
  Nf4View view;
  int32_t block_shift, scale_block_shift;

  explicit Nf4Device(const Nf4View& w)
      : view(w),
        block_shift(std::countr_zero(static_cast<uint32_t>(w.block))),
        scale_block_shift(std::countr_zero(static_cast<uint32_t>(w.scale_block))) {}

  __device__ float ScaleOfBlock(int64_t b) const {
    if (view.scales_f32 != nullptr) return view.scales_f32[b];
    return view.scale_map[view.scales_u8[b]] * view.scale_scales[b >> scale_block_shift] + view.scale_mean;
  }
  __device__ float Scale(int64_t i) const { return ScaleOfBlock(i >> block_shift); }
  __device__ int Code(int64_t i) const { return i % 2 == 0 ? view.codes[i / 2] >> 4 : view.codes[i / 2] & 15; }
};

// The codes of 4 or 8 weights, from a multiple of that number on.
template <int kCount>
struct Codes {
  using Word = std::conditional_t<kCount == 8, uint32_t, uint16_t>;
  Word word;
  // The first byte is the lowest of the word, and its upper half the first code.
  __device__ int At(int j) const { return static_cast<int>(word >> (8 * (j / 2) + (j % 2 == 0 ? 4 : 0)) & 15); }
};

template <int kCount>
__device__ inline Codes<kCount> CodesOf(const uint8_t* codes, int64_t first) {
  static_assert(kCount == 4 || kCount == 8);
  return {*reinterpret_cast<const typename Codes<kCount>::Word*>(codes + first / 2)};
}

// Every thread of the block calls it.
__device__ inline void LoadCodeMap(const Nf4Device& w, float* map) {
  if (threadIdx.x < 16) map[threadIdx.x] = w.view.code_map[threadIdx.x];
  __syncthreads();
}

// kCudaNf4.matvec.
void Nf4MatVec(const Nf4View& w, View x, View y, const MatMulEpilogue& e, LaunchContext context);

}  // namespace lorikeet::internal

#endif  // LORIKEET_QUANT_NF4_CUDA_H_
