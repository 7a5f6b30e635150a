// GELU and gated activations.
//
//   Tensor h = SwiGlu(MatMul(x, w_gate), MatMul(x, w_up));       // [tokens, hidden] each
//   auto [dgate, dup] = SwiGluGrad(dy, gate, up);
//   Tensor h = Gelu(MatMul(x, w));
//
// Shapes and dtypes of all arguments agree; arithmetic in f32 (f64 for f64). Results are fresh and contiguous.
// GELU is the tanh form that models are trained with ("gelu_pytorch_tanh", "gelu_new").
// Sources: Shazeer, "GLU variants improve transformer", 2020; Hendrycks and Gimpel, "Gaussian error linear units",
// 2016.
#ifndef LORIKEET_TENSOR_OPS_ACTIVATION_H_
#define LORIKEET_TENSOR_OPS_ACTIVATION_H_

#include "tensor/tensor.h"

namespace lorikeet::tensor {

// y = silu(gate) * up,  silu(g) = g / (1 + e^-g).
Tensor SwiGlu(const Tensor& gate, const Tensor& up);

struct GatedGrads {
  Tensor dgate, dup;
};
// One pass: s = 1/(1+e^-gate),  dgate = dy * up * (s + gate*s*(1-s)),  dup = dy * gate*s.
GatedGrads SwiGluGrad(const Tensor& dy, const Tensor& gate, const Tensor& up);
// The same into given tensors, which may be dy, gate or up themselves (not both the same one).
void SwiGluGradInto(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup);

// y = gelu(x) = x * (1 + tanh(sqrt(2/pi) * (x + 0.044715*x^3))) / 2, and dx = dy * gelu'(x).
Tensor Gelu(const Tensor& x);
Tensor GeluGrad(const Tensor& dy, const Tensor& x);

// y = gelu(gate) * up, and in one pass dgate = dy * up * gelu'(gate), dup = dy * gelu(gate).
Tensor GeGlu(const Tensor& gate, const Tensor& up);
GatedGrads GeGluGrad(const Tensor& dy, const Tensor& gate, const Tensor& up);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_ACTIVATION_H_
