// Differentiable row lookup.
//
//   Variable h = GatherRows(table, ids);              // table [v, d], ids i32 [n] -> [n, d]
//
// Rows that occur several times add up. Ids outside [0, v) abort.
#ifndef LORIKEET_AUTOGRAD_OPS_GATHER_H_
#define LORIKEET_AUTOGRAD_OPS_GATHER_H_

#include "autograd/variable.h"
#include "tensor/tensor.h"

namespace lorikeet {

Variable GatherRows(const Variable& table, const Tensor& ids);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_GATHER_H_
