// Rows of a tensor as contiguous float (or double), for kernels that work row by row.
//
//   const float* x = ReadRow<float>(view, offset, n, stride, buffer);   // in place if it is one already
//   ...
//   StoreRow(y, out, offset, n, stride);                                // rounds to out's dtype
//
// C is double for f64 views and float for f32, bf16 and f16 ones. `offset` and `stride` count elements of the view;
// `buffer` holds n elements. Only for the CPU kernels of this package.
#ifndef LORIKEET_TENSOR_KERNELS_ROWS_H_
#define LORIKEET_TENSOR_KERNELS_ROWS_H_

#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/rows_f32.h"
#include "tensor/view.h"

namespace lorikeet::internal {

template <typename T>
void WidenRow(const T* x, int64_t n, int64_t stride, float* out) {
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i * stride]);
  }
}

template <typename T>
void NarrowRow(const float* x, int64_t n, int64_t stride, T* out) {
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) out[i] = T(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i * stride] = T(x[i]);
  }
}

// A copy, always.
inline void CopyRow(const View& v, int64_t offset, int64_t n, int64_t stride, float* out) {
  switch (v.dtype) {
    case DType::kBF16:
      if (stride == 1) return WidenBF16(v.ptr<const bf16>() + offset, n, out);
      return WidenRow(v.ptr<const bf16>() + offset, n, stride, out);
    case DType::kF16:
      return WidenRow(v.ptr<const f16>() + offset, n, stride, out);
    default:
      return WidenRow(v.ptr<const float>() + offset, n, stride, out);
  }
}
inline void CopyRow(const View& v, int64_t offset, int64_t n, int64_t stride, double* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = v.ptr<const double>()[offset + i * stride];
}

template <typename C>
const C* ReadRow(const View& v, int64_t offset, int64_t n, int64_t stride, C* buffer) {
  if (v.dtype == DTypeOf<C>() && stride == 1) return v.ptr<const C>() + offset;
  CopyRow(v, offset, n, stride, buffer);
  return buffer;
}

inline void StoreRow(const float* row, const View& v, int64_t offset, int64_t n, int64_t stride) {
  switch (v.dtype) {
    case DType::kBF16:
      if (stride == 1) return NarrowBF16(row, n, v.ptr<bf16>() + offset);
      return NarrowRow(row, n, stride, v.ptr<bf16>() + offset);
    case DType::kF16:
      return NarrowRow(row, n, stride, v.ptr<f16>() + offset);
    default:
      return NarrowRow(row, n, stride, v.ptr<float>() + offset);
  }
}
inline void StoreRow(const double* row, const View& v, int64_t offset, int64_t n, int64_t stride) {
  for (int64_t i = 0; i < n; ++i) v.ptr<double>()[offset + i * stride] = row[i];
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ROWS_H_
