#include "tensor/ops/elementwise.h"

#include <algorithm>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/elementwise_op.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet::tensor {
namespace {

const ElementwiseKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuElementwise : kCudaElementwise; }

void CheckPair(const char* op, const Tensor& a, const Tensor& b) {
  CheckFloat(op, a);
  CheckFloat(op, b);
  CheckSameDevice(op, a, b);
}

Tensor Unary(const char* name, UnaryOp op, const Tensor& x) {
  CheckFloat(name, x);
  Tensor y = Tensor::Empty(x.shape(), x.dtype(), x.device());
  KernelOrDie(KernelsFor(x.device()).unary, name, x)(op, x.view(), y.view(), {});
  return y;
}

Tensor Binary(const char* name, BinaryOp op, const Tensor& a, const Tensor& b) {
  CheckPair(name, a, b);
  CheckSameDType(name, a, b);
  const Shape shape = BroadcastShape(name, a.shape(), b.shape());
  Tensor y = Tensor::Empty(shape, a.dtype(), a.device());
  KernelOrDie(KernelsFor(a.device()).binary, name, a)(op, a.Expand(shape).view(), b.Expand(shape).view(), y.view(), {});
  return y;
}

Tensor BinaryScalar(const char* name, BinaryOp op, const Tensor& x, double s) {
  CheckFloat(name, x);
  Tensor y = Tensor::Empty(x.shape(), x.dtype(), x.device());
  KernelOrDie(KernelsFor(x.device()).binary_scalar, name, x)(op, x.view(), s, y.view(), {});
  return y;
}

}  // namespace

Shape BroadcastShape(const char* op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape shape;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    LORIKEET_CHECK(da == db || da == 1 || db == 1)
        << op << ": a is of shape " << a << ", b of " << b << ": they do not broadcast";
    shape.push_back(da == 1 ? db : da);
  }
  return shape;
}

Tensor Add(const Tensor& a, const Tensor& b) { return Binary("Add", BinaryOp::kAdd, a, b); }
Tensor Sub(const Tensor& a, const Tensor& b) { return Binary("Sub", BinaryOp::kSub, a, b); }
Tensor Mul(const Tensor& a, const Tensor& b) { return Binary("Mul", BinaryOp::kMul, a, b); }
Tensor Div(const Tensor& a, const Tensor& b) { return Binary("Div", BinaryOp::kDiv, a, b); }
Tensor Maximum(const Tensor& a, const Tensor& b) { return Binary("Maximum", BinaryOp::kMaximum, a, b); }
Tensor Minimum(const Tensor& a, const Tensor& b) { return Binary("Minimum", BinaryOp::kMinimum, a, b); }
Tensor Equal(const Tensor& a, const Tensor& b) { return Binary("Equal", BinaryOp::kEqual, a, b); }
Tensor Greater(const Tensor& a, const Tensor& b) { return Binary("Greater", BinaryOp::kGreater, a, b); }

Tensor AddScalar(const Tensor& x, double s) { return BinaryScalar("AddScalar", BinaryOp::kAdd, x, s); }
Tensor Scale(const Tensor& x, double s) { return BinaryScalar("Scale", BinaryOp::kMul, x, s); }
Tensor Maximum(const Tensor& x, double s) { return BinaryScalar("Maximum", BinaryOp::kMaximum, x, s); }
Tensor Minimum(const Tensor& x, double s) { return BinaryScalar("Minimum", BinaryOp::kMinimum, x, s); }
Tensor Greater(const Tensor& x, double s) { return BinaryScalar("Greater", BinaryOp::kGreater, x, s); }

Tensor Neg(const Tensor& x) { return Unary("Neg", UnaryOp::kNeg, x); }
Tensor Abs(const Tensor& x) { return Unary("Abs", UnaryOp::kAbs, x); }
Tensor Sign(const Tensor& x) { return Unary("Sign", UnaryOp::kSign, x); }
Tensor Exp(const Tensor& x) { return Unary("Exp", UnaryOp::kExp, x); }
Tensor Log(const Tensor& x) { return Unary("Log", UnaryOp::kLog, x); }
Tensor Sqrt(const Tensor& x) { return Unary("Sqrt", UnaryOp::kSqrt, x); }
Tensor Rsqrt(const Tensor& x) { return Unary("Rsqrt", UnaryOp::kRsqrt, x); }
Tensor Reciprocal(const Tensor& x) { return Unary("Reciprocal", UnaryOp::kReciprocal, x); }
Tensor Square(const Tensor& x) { return Unary("Square", UnaryOp::kSquare, x); }
Tensor Tanh(const Tensor& x) { return Unary("Tanh", UnaryOp::kTanh, x); }
Tensor Sigmoid(const Tensor& x) { return Unary("Sigmoid", UnaryOp::kSigmoid, x); }
Tensor Silu(const Tensor& x) { return Unary("Silu", UnaryOp::kSilu, x); }

void AddInPlace(Tensor& y, const Tensor& x, double alpha) {
  CheckPair("AddInPlace", y, x);
  CheckWritable("AddInPlace", y);
  KernelOrDie(KernelsFor(y.device()).add_in_place, "AddInPlace", y)(x.Expand(y.shape()).view(), alpha, y.view(), {});
}

void ScaleInPlace(Tensor& x, double s) {
  CheckFloat("ScaleInPlace", x);
  CheckWritable("ScaleInPlace", x);
  KernelOrDie(KernelsFor(x.device()).binary_scalar, "ScaleInPlace", x)(BinaryOp::kMul, x.view(), s, x.view(), {});
}

void MulInPlace(Tensor& x, const Tensor& g) {
  CheckPair("MulInPlace", x, g);
  CheckSameDType("MulInPlace", x, g);
  CheckWritable("MulInPlace", x);
  KernelOrDie(KernelsFor(x.device()).binary, "MulInPlace", x)(BinaryOp::kMul, x.view(), g.Expand(x.shape()).view(),
                                                              x.view(), {});
}

}  // namespace lorikeet::tensor
