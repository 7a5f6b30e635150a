// Differentiable activations.
//
//   Variable y = SwiGlu(gate, up);                    // silu(gate) * up, any equal shapes
//   Variable y = GeGlu(gate, up);                     // gelu(gate) * up
//   Variable y = Gelu(x);
//
// GELU in its tanh form (tensor/ops/activation.h). Shazeer, "GLU variants improve Transformer", 2020; Hendrycks &
// Gimpel, "Gaussian error linear units", 2016.
#ifndef LORIKEET_AUTOGRAD_OPS_ACTIVATION_H_
#define LORIKEET_AUTOGRAD_OPS_ACTIVATION_H_

#include "autograd/variable.h"

namespace lorikeet {

Variable SwiGlu(const Variable& gate, const Variable& up);
Variable GeGlu(const Variable& gate, const Variable& up);
Variable Gelu(const Variable& x);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_ACTIVATION_H_
