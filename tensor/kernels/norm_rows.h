// Rows of a tensor for the norms: f32, or bf16 where the instructions take it as it is.
//
//   std::vector<T> buffer(n);                           // T: float, bf16 or double
//   const T* x = Read(view, i, buffer);                 // row i where it lies, or converted
//   T* y = ToWrite(out, i, buffer);
//   Finish(y, buffer, out, i);                          // rounds to out's dtype if y is the buffer
//
// A T of bf16 is for views that AllBF16 approves. Only for the CPU kernels of this package.
#ifndef LORIKEET_TENSOR_KERNELS_NORM_ROWS_H_
#define LORIKEET_TENSOR_KERNELS_NORM_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/rows.h"
#include "tensor/view.h"

namespace lorikeet::internal {

// Whether rows can be taken as bf16 where they lie. Absent views have rank 0.
inline bool AllBF16(std::initializer_list<View> views) {
  return std::all_of(views.begin(), views.end(),
                     [](const View& v) { return v.rank == 0 || (v.dtype == DType::kBF16 && v.strides[1] == 1); });
}

template <typename T>
const T* Read(const View& v, int64_t i, std::vector<T>& buffer) {
  if constexpr (std::is_same_v<T, bf16>) {
    return v.ptr<const bf16>() + i * v.strides[0];
  } else {
    return ReadRow(v, i * v.strides[0], v.dims[1], v.strides[1], buffer.data());
  }
}
template <typename T>
T* ToWrite(const View& v, int64_t i, std::vector<T>& buffer) {
  return v.dtype == DTypeOf<T>() && v.strides[1] == 1 ? v.ptr<T>() + i * v.strides[0] : buffer.data();
}
template <typename T>
void Finish(const T* row, const std::vector<T>& buffer, const View& v, int64_t i) {
  if constexpr (!std::is_same_v<T, bf16>) {
    if (row == buffer.data()) StoreRow(row, v, i * v.strides[0], v.dims[1], v.strides[1]);
  }
}

// A vector of weights, in the arithmetic's type.
template <typename C>
std::vector<C> Weight(const View& w) {
  std::vector<C> out(static_cast<size_t>(w.dims[0]));
  CopyRow(w, 0, w.dims[0], w.strides[0], out.data());
  return out;
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_NORM_ROWS_H_
