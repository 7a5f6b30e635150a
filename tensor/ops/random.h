// Random tensors and dropout. Randomness is a value: the same key gives the same numbers, whatever the number of
// threads, the layout or what ran before.
//
//   Tensor a = Uniform({rank, in}, -bound, bound, key.Fold(0), DType::kF32);
//   Tensor y = Dropout(x, 0.1, step_key.Fold(layer));      // in the backward pass: dx = Dropout(dy, 0.1, the same key)
//
// Element i (row-major) depends on the key and on i only: see tensor/kernels/random.h for the formulas.
#ifndef LORIKEET_TENSOR_OPS_RANDOM_H_
#define LORIKEET_TENSOR_OPS_RANDOM_H_

#include <cstdint>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

// lo + (hi - lo) * u with u a multiple of 2^-24 in [0, 1), rounded to dtype (which may round up to hi).
Tensor Uniform(const Shape& shape, double lo, double hi, RngKey key, DType dtype, Device device = kCpu);
// Normal with the given mean and standard deviation.
Tensor Normal(const Shape& shape, double mean, double std, RngKey key, DType dtype, Device device = kCpu);

// Each element is 0 with probability p, else x / (1 - p). No mask is kept: it is drawn again from the key. p = 0
// returns x's own handle, p = 1 zeros. A key in memory must be in that of x's device, and stay until the device is
// done.
Tensor Dropout(const Tensor& x, double p, KeySource key);

// 0 .. n-1 in random order, every order about equally likely: the shuffle of Fisher and Yates.
std::vector<int64_t> Permutation(int64_t n, RngKey key);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_RANDOM_H_
