// Copies into existing memory.
//
//   Tensor top = cache.Slice(0, 0, n);  CopyInto(k, top);   // k is broadcast and converted to what top is
//   Tensor all = Concat({q, k, v}, /*dim=*/1);
//
// Tensor::Cast, Clone, Contiguous and To make new tensors; these write. Any dtypes; same device. Errors: misuse aborts.
#ifndef LORIKEET_TENSOR_OPS_COPY_H_
#define LORIKEET_TENSOR_OPS_COPY_H_

#include <initializer_list>
#include <vector>

#include "absl/types/span.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

// y = x, with x broadcast to y's shape and converted to its dtype. y may be strided; x must not overlap it.
void CopyInto(const Tensor& x, Tensor& y);

// x.Cast(dtype) for every x, all on one device: few launches, where they are float32 and become 16-bit floats.
std::vector<Tensor> CastAll(absl::Span<const Tensor> xs, DType dtype);

// Every element of y is `value`, rounded to its dtype.
void FillInPlace(Tensor& y, double value);

// Joins tensors along a dimension; their other dimensions, dtypes and devices agree. At least one tensor.
Tensor Concat(absl::Span<const Tensor> parts, int dim);
inline Tensor Concat(std::initializer_list<Tensor> parts, int dim) {
  return Concat(absl::MakeConstSpan(parts.begin(), parts.size()), dim);
}

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_COPY_H_
