// From a DType to a C++ type: one lambda, instantiated for each.
//
//   DispatchFloat(v.dtype, [&]<typename T>() { Scale<T>(v); });       // double, float, bf16, f16
//   DispatchAny(v.dtype, [&]<typename T>() { ... });                  // the integers too
//
// Acc<T> is what sums of T are kept in: double for double, float for the other floats, int64_t for integers.
#ifndef LORIKEET_TENSOR_KERNELS_DISPATCH_H_
#define LORIKEET_TENSOR_KERNELS_DISPATCH_H_

#include <cstdint>
#include <type_traits>

#include "tensor/check.h"
#include "tensor/dtype.h"

namespace lorikeet {

template <typename T>
using Acc =
    std::conditional_t<std::is_integral_v<T>, int64_t, std::conditional_t<std::is_same_v<T, double>, double, float>>;

template <typename F>
void DispatchFloat(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF64:
      return f.template operator()<double>();
    case DType::kF32:
      return f.template operator()<float>();
    case DType::kBF16:
      return f.template operator()<bf16>();
    case DType::kF16:
      return f.template operator()<f16>();
    default:
      LORIKEET_CHECK(false) << "expected a float dtype, got " << Name(dtype);
  }
}

template <typename F>
void DispatchAny(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kI32:
      return f.template operator()<int32_t>();
    case DType::kI64:
      return f.template operator()<int64_t>();
    case DType::kU8:
      return f.template operator()<uint8_t>();
    default:
      DispatchFloat(dtype, f);
  }
}

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_DISPATCH_H_
