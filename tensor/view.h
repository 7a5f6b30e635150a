// View: what a kernel sees of a tensor. A plain struct, passed by value, valid while the tensor lives.
//
//   float* x = v.ptr<float>();
//   x[i * v.strides[0] + j * v.strides[1]]      // strides count elements, not bytes; 0 repeats (broadcast)
//
// Nothing is checked here: ops check, kernels compute. Compiles under nvcc without Abseil.
#ifndef LORIKEET_TENSOR_VIEW_H_
#define LORIKEET_TENSOR_VIEW_H_

#include <cstdint>

#include "tensor/dtype.h"

namespace lorikeet {

inline constexpr int kMaxRank = 6;

struct View {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int32_t rank = 0;
  int64_t dims[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};

  template <typename T>
  T* ptr() const {
    return static_cast<T*>(data);
  }
  constexpr int64_t size() const {  // elements
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  constexpr bool contiguous() const {
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (dims[i] != 1 && strides[i] != expected) return size() == 0;
      expected *= dims[i];
    }
    return true;
  }
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_VIEW_H_
