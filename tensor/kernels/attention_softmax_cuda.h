// Softmax over keys that come tile by tile, in registers: a running maximum, and sums relative to it. Only for .cu
// files.
//
//   Running<kM> running;  float y[kM][kD / 8][4] = {};
//   per tile:  AddScores(s, ...);  ToScores(s, batch, seen);  ToWeights<kD>(s, &running, y);  AddWeighted(y, s, ...);
//   y / QuadSum(running.sum) is the mean, and running.max + log2(that sum) the logarithm of the denominator
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

// Of a warp's rows: the running maximum (in units of log 2) and the sum of this lane's weights.
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

// q.k to scores in units of log 2; where not seen(row, column), of the warp's tile, -infinity, whatever it was.
template <int kM, int kN, typename Seen>
__device__ __forceinline__ void ToScores(float (&s)[kM][kN][4], const Batch& b, Seen seen) {
  const int g = Lane() / 4, t = Lane() % 4;
  const float factor = b.softcap > 0 ? b.scale / b.softcap : b.scale * kLog2E;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float x = s[m][n][i] * factor;
        if (b.softcap > 0) x = tanhf(x) * (b.softcap * kLog2E);
        s[m][n][i] = seen(16 * m + 8 * (i / 2) + g, 8 * n + 2 * t + i % 2) ? x : kNegInf;
      }
    }
  }
}

// Scores to weights relative to the maximum so far; what was added up before is scaled to it.
template <int kD, int kM, int kN>
__device__ __forceinline__ void ToWeights(float (&s)[kM][kN][4], Running<kM>* r, float (&y)[kM][kD / 8][4]) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float max = r->max[m][h];
#pragma unroll
      for (int n = 0; n < kN; ++n) max = fmaxf(max, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
      max = QuadMax(max);
      const float base = max == kNegInf ? 0 : max;  // nothing seen yet: -inf - -inf is NaN
      const float scale = exp2f(r->max[m][h] - base);
      float sum = 0;
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; ++i) sum += s[m][n][i] = exp2f(s[m][n][i] - base);
      }
      r->sum[m][h] = r->sum[m][h] * scale + sum;
      r->max[m][h] = max;
#pragma unroll
      for (int c = 0; c < kD / 8; ++c) {
        y[m][c][2 * h] *= scale;
        y[m][c][2 * h + 1] *= scale;
      }
    }
  }
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_SOFTMAX_CUDA_H_
