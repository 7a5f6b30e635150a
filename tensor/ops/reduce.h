// Reductions, on any device.
//
//   Tensor db = Sum(dy, {0});                          // dy [tokens, d] -> [d]
//   Tensor ms = Mean(Square(x), {-1}, /*keepdim=*/true);
//   Tensor dg = SumTo(Mul(dy, x), g.shape());          // gradient of an operand that was broadcast
//   double norm = std::sqrt(SumSquares(grad));
//
// Results are fresh and contiguous, of x's dtype unless said otherwise. On the CPU sums are kept in f64 for every dtype
// and rounded once; the order of additions depends on the shape only, so bits do not depend on the number of threads.
// The sum of nothing is 0, its mean NaN, its maximum an error. NaN propagates, through maxima too. Errors: misuse
// aborts.
#ifndef LORIKEET_TENSOR_OPS_REDUCE_H_
#define LORIKEET_TENSOR_OPS_REDUCE_H_

#include <initializer_list>

#include "absl/types/span.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

// Over the dimensions `dims`, each named once, negative ones counted from the end. keepdim leaves them as 1.
Tensor Sum(const Tensor& x, absl::Span<const int> dims, bool keepdim = false);
Tensor Mean(const Tensor& x, absl::Span<const int> dims, bool keepdim = false);
Tensor Max(const Tensor& x, absl::Span<const int> dims, bool keepdim = false);
inline Tensor Sum(const Tensor& x, std::initializer_list<int> dims, bool keepdim = false) {
  return Sum(x, absl::MakeConstSpan(dims.begin(), dims.size()), keepdim);
}
inline Tensor Mean(const Tensor& x, std::initializer_list<int> dims, bool keepdim = false) {
  return Mean(x, absl::MakeConstSpan(dims.begin(), dims.size()), keepdim);
}
inline Tensor Max(const Tensor& x, std::initializer_list<int> dims, bool keepdim = false) {
  return Max(x, absl::MakeConstSpan(dims.begin(), dims.size()), keepdim);
}
// Over all dimensions: a scalar [].
Tensor SumAll(const Tensor& x);

// Sums the dimensions along which `shape` was broadcast to x's shape: the inverse of Expand, for gradients. Returns x's
// own handle if the shapes are equal.
Tensor SumTo(const Tensor& x, const Shape& shape);

// y[i] = sum_j a[i,j] * b[i,j]: [n, d] and [n, d] -> [n], f64 if a or b is, else f32. The two may differ in dtype.
// RowDot(w, w) are the squared norms of the rows.
Tensor RowDot(const Tensor& a, const Tensor& b);

double SumSquares(const Tensor& x);  // of all elements, kept in f64
// The same of many tensors on one device, f64 [n] there: a launch or two for all of them, and the host does not wait.
// f32, or on the CPU f64.
Tensor SumSquaresOfEach(absl::Span<const Tensor> xs);
bool AllFinite(const Tensor& x);  // no NaN, no infinity

// Index of the largest element along the last dimension, the first of equals; a NaN counts as the largest. x [.., d] ->
// i32 [..], d > 0.
Tensor ArgMax(const Tensor& x);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_REDUCE_H_
