// Differentiable softmax over the last dimension.
//
//   Variable p = Softmax(logits);                     // rows sum to 1; a row of -inf gives zeros
//   Variable l = LogSoftmax(logits);
#ifndef LORIKEET_AUTOGRAD_OPS_SOFTMAX_H_
#define LORIKEET_AUTOGRAD_OPS_SOFTMAX_H_

#include "autograd/variable.h"

namespace lorikeet {

Variable Softmax(const Variable& x);
Variable LogSoftmax(const Variable& x);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_SOFTMAX_H_
