// What layer_norm_cpu.cc hands to its inner loops, which are compiled for several instruction sets: one row.
#ifndef LORIKEET_TENSOR_KERNELS_LAYER_NORM_ROW_H_
#define LORIKEET_TENSOR_KERNELS_LAYER_NORM_ROW_H_

#include <cstdint>
#include <type_traits>

namespace lorikeet::internal {

// T: float, bf16 or double.
template <typename T>
struct LayerNormRow {
  using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const T* x;
  const Sum *w, *b;
  float eps;
  int64_t n;
  T* y;
  Sum mean, rstd;  // results
};

// dx may be dy. dw and db are added to, unless they are null.
template <typename T>
struct LayerNormGradRow {
  using Sum = typename LayerNormRow<T>::Sum;
  const T *dy, *x;
  const Sum* w;
  Sum mean, rstd;
  int64_t n;
  T* dx;
  Sum *dw, *db;
};

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_LAYER_NORM_ROW_H_
