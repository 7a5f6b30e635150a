// Gated activations.
//
//   Tensor h = SwiGlu(MatMul(x, w_gate), MatMul(x, w_up));       // [tokens, hidden] each
//   auto [dgate, dup] = SwiGluGrad(dy, gate, up);
//
// Shapes and dtypes of all arguments agree; arithmetic in f32 (f64 for f64). Results are fresh and contiguous.
// Source: Shazeer, "GLU variants improve transformer", 2020.
#ifndef LORIKEET_TENSOR_OPS_ACTIVATION_H_
#define LORIKEET_TENSOR_OPS_ACTIVATION_H_

#include "tensor/tensor.h"

namespace lorikeet::tensor {

// y = silu(gate) * up,  silu(g) = g / (1 + e^-g).
Tensor SwiGlu(const Tensor& gate, const Tensor& up);

struct SwiGluGrads {
  Tensor dgate, dup;
};
// One pass: s = 1/(1+e^-gate),  dgate = dy * up * (s + gate*s*(1-s)),  dup = dy * gate*s.
SwiGluGrads SwiGluGrad(const Tensor& dy, const Tensor& gate, const Tensor& up);
// The same into given tensors, which may be dy, gate or up themselves (not both the same one).
void SwiGluGradInto(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_ACTIVATION_H_
