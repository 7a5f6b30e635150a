// Softmax over keys that come tile by tile, in registers: a running maximum, and sums relative to it. Only for .cu
// files.
//
//   Running<kM> running;  float y[kM][kD / 8][4] = {};
//   per tile:  AddScores(s, ...);  ToScores(s, batch, whole, keys);  ToWeights<kD>(s, factor, &running, y);
//              AddWeighted(y, s, ...);                                         factor: ScoreFactor(batch)
//   y / QuadSum(running.sum) is the mean, and factor * running.max + log2(that sum) the denominator's logarithm
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_SOFTMAX_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_SOFTMAX_CUDA_H_

#include <cmath>
#include <limits>

#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_tile_cuda.h"
#include "tensor/kernels/cuda_reduce.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr float kNegInf = -std::numeric_limits<float>::infinity();

// Of a warp's rows: the running maximum of the scores and the sum of this lane's weights.
template <int kM>
struct Running {
  float max[kM][2], sum[kM][2];

  __device__ Running() {
    for (int m = 0; m < kM; ++m) {
      for (int h = 0; h < 2; ++h) max[m][h] = kNegInf, sum[m][h] = 0;
    }
  }
};

__device__ __forceinline__ float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(kWholeWarp, x, 1));
  return fmaxf(x, __shfl_xor_sync(kWholeWarp, x, 2));
}
__device__ __forceinline__ float QuadSum(float x) {
  x += __shfl_xor_sync(kWholeWarp, x, 1);
  return x + __shfl_xor_sync(kWholeWarp, x, 2);
}

// What scores are multiplied with to be exponents of two. Mostly that is all that is done to q.k, in one instruction
// with the maximum's subtraction; where it is not, ToScores does it, and the factor is 1.
__device__ __forceinline__ bool ScoresArePlain(const Batch& b) { return b.softcap <= 0 && b.scale > 0; }
__device__ __forceinline__ float ScoreFactor(const Batch& b) { return ScoresArePlain(b) ? b.scale * kLog2E : 1.0f; }

// The logarithm of a softmax's denominator, from the maximum of its scores and the sum of weights relative to it.
__device__ __forceinline__ float LogOfSum(const Batch& b, float max, float sum) {
  return (max * ScoreFactor(b) + log2f(sum)) * kLn2;
}

// q.k to scores. Where not whole, they are -infinity outside of the columns keys(row), of the warp's tile, whatever
// they were.
template <int kM, int kN, typename Keys>
__device__ __forceinline__ void ToScores(float (&s)[kM][kN][4], const Batch& b, bool whole, Keys keys) {
  if (!ScoresArePlain(b)) {
    const float factor = b.softcap > 0 ? b.scale / b.softcap : b.scale * kLog2E;
#pragma unroll
    for (int i = 0; i < kM * kN * 4; ++i) {
      float& x = s[i / (kN * 4)][i / 4 % kN][i % 4];
      x *= factor;
      if (b.softcap > 0) x = tanhf(x) * (b.softcap * kLog2E);
    }
  }
  if (whole) return;
#pragma unroll
  for (int i = 0; i < 2 * kM; ++i) {
    const TileMask::Run run = keys(8 * i + Lane() / 4);
#pragma unroll
    for (int j = 0; j < 2 * kN; ++j) {
      if (!run.Has(8 * (j / 2) + 2 * (Lane() % 4) + j % 2)) s[i / 2][j / 2][i % 2 * 2 + j % 2] = kNegInf;
    }
  }
}

// Scores to weights relative to the maximum so far; what was added up before is scaled to it, if it changed.
template <int kD, int kM, int kN>
__device__ __forceinline__ void ToWeights(float (&s)[kM][kN][4], float factor, Running<kM>* r,
                                          float (&y)[kM][kD / 8][4]) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    float scale[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float max = r->max[m][h];
#pragma unroll
      for (int n = 0; n < kN; ++n) max = fmaxf(max, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
      max = QuadMax(max);
      const float base = max == kNegInf ? 0 : max * factor;  // nothing seen yet: -inf - -inf is NaN
      scale[h] = Exp2Approx(fmaf(r->max[m][h], factor, -base));
      float sum = 0;
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; ++i) sum += s[m][n][i] = Exp2Approx(fmaf(s[m][n][i], factor, -base));
      }
      r->sum[m][h] = fmaf(r->sum[m][h], scale[h], sum);
      r->max[m][h] = max;
    }
    if (!__any_sync(kWholeWarp, !(scale[0] == 1 && scale[1] == 1))) continue;
#pragma unroll
    for (int c = 0; c < kD / 8; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) y[m][c][i] *= scale[i / 2];
    }
  }
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_SOFTMAX_CUDA_H_
