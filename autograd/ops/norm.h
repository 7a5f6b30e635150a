// Differentiable RMSNorm, alone and fused with the residual sum before it.
//
//   Variable y = RmsNorm(x, w, 1e-5f);                        // x [.., d], w [d]
//   auto [h, y] = AddRmsNorm(x, residual, w, 1e-5f);          // h = x + residual, y = RmsNorm(h, w)
//
// Zhang & Sennrich, "Root mean square layer normalization", 2019.
#ifndef LORIKEET_AUTOGRAD_OPS_NORM_H_
#define LORIKEET_AUTOGRAD_OPS_NORM_H_

#include <utility>

#include "autograd/variable.h"

namespace lorikeet {

Variable RmsNorm(const Variable& x, const Variable& w, float eps);
std::pair<Variable, Variable> AddRmsNorm(const Variable& x, const Variable& residual, const Variable& w, float eps);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_NORM_H_
