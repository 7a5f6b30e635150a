// Differentiable gated activation.
//
//   Variable y = SwiGlu(gate, up);                    // silu(gate) * up, any equal shapes
//
// Shazeer, "GLU variants improve Transformer", 2020.
#ifndef LORIKEET_AUTOGRAD_OPS_ACTIVATION_H_
#define LORIKEET_AUTOGRAD_OPS_ACTIVATION_H_

#include "autograd/variable.h"

namespace lorikeet {

Variable SwiGlu(const Variable& gate, const Variable& up);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_ACTIVATION_H_
