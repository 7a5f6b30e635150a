// Differentiable dropout: y = x * mask / (1-p), the mask drawn from the key by element index.
//
//   Variable y = Dropout(x, 0.05f, step_key.Fold(layer));
//
// Nothing is saved: the rule draws the same mask again. p in [0, 1]; p = 1 gives zeros. Srivastava et al., 2014.
#ifndef LORIKEET_AUTOGRAD_OPS_DROPOUT_H_
#define LORIKEET_AUTOGRAD_OPS_DROPOUT_H_

#include "autograd/variable.h"
#include "tensor/random.h"

namespace lorikeet {

Variable Dropout(const Variable& x, float p, RngKey key);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_DROPOUT_H_
