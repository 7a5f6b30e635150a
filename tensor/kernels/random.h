// Random numbers and dropout: the contract of a backend.
//
// Element i (row-major) draws word i % 4 of Philox(key, i / 4), so a value depends on the key and its index alone.
// Let u(w) = (w >> 8) * 2^-24, in [0, 1).
//
//   uniform  y[i] = lo + (hi - lo) * u(word i)
//   normal   y[2k], y[2k+1] = mean + std * r * (cos a, sin a),  r = sqrt(-2 ln((word 2k + 1) * 2^-32)),
//            a = 2 pi * (word 2k+1) * 2^-32     (Box and Muller, 1958); logarithm and circular functions in f64,
//            rounded to y
//   dropout  y[i] = u(word i) >= p ? x[i] * s : 0,  with p and s = 1 / (1 - p) rounded to f32. p = 1 gives zeros, even
//            of NaN; p = 0 gives x
//
// x and y of dropout have the same dims and float dtype, any strides, and may be the same view. y of the others is any
// float dtype and strides.
#ifndef LORIKEET_TENSOR_KERNELS_RANDOM_H_
#define LORIKEET_TENSOR_KERNELS_RANDOM_H_

#include "tensor/kernels/launch.h"
#include "tensor/random.h"
#include "tensor/view.h"

namespace lorikeet {

struct RandomKernels {
  void (*uniform)(double lo, double hi, RngKey key, View y, LaunchContext) = nullptr;
  void (*normal)(double mean, double std, RngKey key, View y, LaunchContext) = nullptr;
  void (*dropout)(View x, double p, KeySource key, View y, LaunchContext) = nullptr;
};

extern const RandomKernels kCpuRandom;
extern const RandomKernels kCudaRandom;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_RANDOM_H_
