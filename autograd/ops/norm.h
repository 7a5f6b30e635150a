// Differentiable norms of rows: RMSNorm, alone and fused with the residual sum before it, and layer normalisation.
//
//   Variable y = RmsNorm(x, w, 1e-5f);                        // x [.., d], w [d]
//   auto [h, y] = AddRmsNorm(x, residual, w, 1e-5f);          // h = x + residual, y = RmsNorm(h, w)
//   Variable y = LayerNorm(x, w, b, 1e-5f);                   // w, b [d]
//
// Zhang & Sennrich, "Root mean square layer normalization", 2019; Ba, Kiros & Hinton, "Layer normalization", 2016.
#ifndef LORIKEET_AUTOGRAD_OPS_NORM_H_
#define LORIKEET_AUTOGRAD_OPS_NORM_H_

#include <utility>

#include "autograd/variable.h"

namespace lorikeet {

Variable RmsNorm(const Variable& x, const Variable& w, float eps);
std::pair<Variable, Variable> AddRmsNorm(const Variable& x, const Variable& residual, const Variable& w, float eps);
Variable LayerNorm(const Variable& x, const Variable& w, const Variable& b, float eps);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_NORM_H_
