// Checks that many ops share. Each names the op, what was expected and what came (tensor/check.h).
//
//   CheckFloat("Exp", x);  CheckSameDevice("Add", a, b);  CheckShape("RowDot", "b", b, a.shape());
#ifndef LORIKEET_TENSOR_OPS_CHECKS_H_
#define LORIKEET_TENSOR_OPS_CHECKS_H_

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

inline void CheckFloat(const char* op, const Tensor& x) {
  LORIKEET_CHECK(x.defined() && IsFloat(x.dtype())) << op << ": expected a float tensor, got " << Describe(x);
}

inline void CheckDType(const char* op, const char* name, const Tensor& x, DType dtype) {
  LORIKEET_CHECK(x.defined() && x.dtype() == dtype)
      << op << ": " << name << " is " << Describe(x) << ", expected " << Name(dtype);
}

inline void CheckShape(const char* op, const char* name, const Tensor& x, const Shape& shape) {
  LORIKEET_CHECK(x.defined() && x.shape() == shape)
      << op << ": " << name << " is " << Describe(x) << ", expected shape " << shape;
}

inline void CheckSameDevice(const char* op, const Tensor& a, const Tensor& b) {
  LORIKEET_CHECK(a.device() == b.device())
      << op << ": a is on " << ToString(a.device()) << ", b on " << ToString(b.device());
}

inline void CheckSameDType(const char* op, const Tensor& a, const Tensor& b) {
  LORIKEET_CHECK(a.dtype() == b.dtype()) << op << ": a is " << Describe(a) << ", b is " << Describe(b);
}

// b has a's shape, dtype and device.
inline void CheckLike(const char* op, const char* name, const Tensor& b, const Tensor& a) {
  LORIKEET_CHECK(b.defined() && b.dtype() == a.dtype() && b.shape() == a.shape() && b.device() == a.device())
      << op << ": " << name << " is " << Describe(b) << ", expected " << Describe(a) << " on " << ToString(a.device());
}

// Writing through a repeated element would be a race, and adding to it would count twice.
inline void CheckWritable(const char* op, const Tensor& y) {
  if (y.size() == 0) return;  // strides of an empty tensor mean nothing
  for (int i = 0; i < y.rank(); ++i) {
    LORIKEET_CHECK(y.dim(i) <= 1 || y.stride(i) != 0) << op << ": y is an expanded view " << Describe(y);
  }
}

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_CHECKS_H_
