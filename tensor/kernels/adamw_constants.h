// AdamWConstants: what AdamW's update of a segment multiplies with, formed in f64 and rounded once. Every
// implementation of tensor/kernels/adamw.h starts from these.
//
//   const auto c = RoundedConstants<float>(segment, step);
//   g = c.grad_scale * g;
//   m = c.beta1 * m + c.one_minus_beta1 * g;
//   v = c.beta2 * v + c.one_minus_beta2 * g * g;
//   p = p * c.keep - c.rate * m / (sqrt(v) + c.eps);              each operation rounded by itself
#ifndef LORIKEET_TENSOR_KERNELS_ADAMW_CONSTANTS_H_
#define LORIKEET_TENSOR_KERNELS_ADAMW_CONSTANTS_H_

#include "tensor/kernels/adamw.h"

namespace lorikeet::internal {

// On a device whose memory has the scale (AdamWStep::gate) the kernel sets the first.
template <typename T>
struct AdamWConstants {
  T grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, keep, rate, eps;
};

template <typename T>
AdamWConstants<T> RoundedConstants(const AdamWSegment& s, const AdamWStep& k) {
  return {static_cast<T>(k.grad_scale),         static_cast<T>(k.beta1),
          static_cast<T>(1 - k.beta1),          static_cast<T>(k.beta2),
          static_cast<T>(1 - k.beta2),          static_cast<T>(1 - s.lr * s.weight_decay),
          static_cast<T>(s.lr * (k.c2 / k.c1)), static_cast<T>(k.eps * k.c2)};
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ADAMW_CONSTANTS_H_
