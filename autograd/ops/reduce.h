// Differentiable sums.
//
//   Variable loss = Mean(Square(Sub(y, target)));     // over everything: a scalar
//   Variable row = Mean(x, {-1});                     // over the last dimension, kept with size 1
#ifndef LORIKEET_AUTOGRAD_OPS_REDUCE_H_
#define LORIKEET_AUTOGRAD_OPS_REDUCE_H_

#include <initializer_list>

#include "autograd/variable.h"

namespace lorikeet {

Variable Sum(const Variable& x);
Variable Mean(const Variable& x);
Variable Sum(const Variable& x, std::initializer_list<int> dims);
Variable Mean(const Variable& x, std::initializer_list<int> dims);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_REDUCE_H_
