// Differentiable matrix product of two variables.
//
//   Variable y = MatMul(x, w, /*transpose_a=*/false, /*transpose_b=*/true);    // x [m,k], w [n,k] -> [m,n]
//
// Both operands are rank 2 and share a dtype. Layers multiply by weights through nn/linear_map.h instead.
#ifndef LORIKEET_AUTOGRAD_OPS_MATMUL_H_
#define LORIKEET_AUTOGRAD_OPS_MATMUL_H_

#include "autograd/variable.h"

namespace lorikeet {

Variable MatMul(const Variable& a, const Variable& b, bool transpose_a = false, bool transpose_b = false);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_MATMUL_H_
