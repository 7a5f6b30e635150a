// Differentiable changes of shape and dtype. Reshape, Transpose and Slice are views where the layout allows it.
//
//   Variable heads = Reshape(q, {tokens, num_heads, head_dim});
//   std::vector<Variable> halves = Split(gate_up, 1, {n, n});          // neighbouring slices
#ifndef LORIKEET_AUTOGRAD_OPS_SHAPE_H_
#define LORIKEET_AUTOGRAD_OPS_SHAPE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "autograd/variable.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace lorikeet {

Variable Reshape(const Variable& x, const Shape& shape);
Variable Transpose(const Variable& x, int a, int b);
Variable Slice(const Variable& x, int dim, int64_t begin, int64_t end);
// x cut along dim into parts of these sizes, which add up to it. Cheaper than slices: one gradient for all.
std::vector<Variable> Split(const Variable& x, int dim, absl::Span<const int64_t> sizes);
Variable Expand(const Variable& x, const Shape& shape);
Variable Cast(const Variable& x, DType dtype);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_SHAPE_H_
