// What AdamW's CUDA kernels share: the update of one element, and whether there is one. Compile with -fmad=false: the
// contract rounds after each operation. Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_ADAMW_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_ADAMW_CUDA_H_

#include <cmath>

#include "tensor/kernels/adamw_constants.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

__device__ inline void UpdateElement(const AdamWConstants<float>& c, float g, float& p, float& m, float& v) {
  g *= c.grad_scale;
  m = c.beta1 * m + c.one_minus_beta1 * g;
  v = c.beta2 * v + c.one_minus_beta2 * g * g;
  p = p * c.keep - c.rate * m / (sqrtf(v) + c.eps);
}

// False where the gate (AdamWStep::gate) is shut; else its scale is the constants'.
__device__ inline bool Opened(const double* gate, AdamWConstants<float>* c) {
  if (gate == nullptr) return true;
  const double scale = *gate;
  if (scale != scale) return false;
  c->grad_scale = static_cast<float>(scale);
  return true;
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ADAMW_CUDA_H_
