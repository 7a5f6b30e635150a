// What norm_cpu.cc hands to its inner loops, which are compiled for several instruction sets: one row of the gradient.
#ifndef LORIKEET_TENSOR_KERNELS_NORM_ROW_H_
#define LORIKEET_TENSOR_KERNELS_NORM_ROW_H_

#include <cstdint>
#include <type_traits>

namespace lorikeet::internal {

// T: float, bf16 or double. dx may be dy or dsum.
template <typename T>
struct NormGradRow {
  using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const T *dy, *x;
  const Sum* w;
  const T* dsum;  // null: zero
  Sum r;
  int64_t n;
  T* dx;
};

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_NORM_ROW_H_
