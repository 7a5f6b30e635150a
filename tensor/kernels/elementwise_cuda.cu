#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::Data;
using internal::DispatchFloat;
using internal::FirstIndex;
using internal::Flattened;
using internal::GridFor;
using internal::IndexStride;
using internal::kBlockThreads;
using internal::Offset;
using internal::StreamOf;

// The operation is a value, not a template parameter: memory is what these kernels wait for, and all threads branch
// alike.
__device__ inline float Apply(UnaryOp op, float x) {
  switch (op) {
    case UnaryOp::kNeg:
      return -x;
    case UnaryOp::kAbs:
      return fabsf(x);
    case UnaryOp::kSign:
      return x > 0 ? 1.0f : (x < 0 ? -1.0f : x);
    case UnaryOp::kExp:
      return expf(x);
    case UnaryOp::kLog:
      return logf(x);
    case UnaryOp::kSqrt:
      return sqrtf(x);
    case UnaryOp::kRsqrt:
      return 1.0f / sqrtf(x);
    case UnaryOp::kReciprocal:
      return 1.0f / x;
    case UnaryOp::kSquare:
      return x * x;
    case UnaryOp::kTanh:
      return tanhf(x);
    case UnaryOp::kSigmoid:
      return 1.0f / (1.0f + expf(-x));
    case UnaryOp::kSilu:
      return x / (1.0f + expf(-x));
  }
  return x;
}

__device__ inline float Apply(BinaryOp op, float a, float b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSub:
      return a - b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kDiv:
      return a / b;
    case BinaryOp::kMaximum:
      return a > b || a != a ? a : b;  // a NaN on either side is the result
    case BinaryOp::kMinimum:
      return a < b || a != a ? a : b;
    case BinaryOp::kEqual:
      return a == b ? 1.0f : 0.0f;
    case BinaryOp::kGreater:
      return a > b ? 1.0f : 0.0f;
  }
  return a;
}

template <typename T>
__global__ void UnaryKernel(UnaryOp op, View x, View y, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) {
    Data<T>(y)[Offset(y, i)] = T(Apply(op, static_cast<float>(Data<T>(x)[Offset(x, i)])));
  }
}

template <typename T>
__global__ void BinaryKernel(BinaryOp op, View a, View b, View y, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) {
    const float u = Data<T>(a)[Offset(a, i)], v = Data<T>(b)[Offset(b, i)];
    Data<T>(y)[Offset(y, i)] = T(Apply(op, u, v));
  }
}

template <typename T>
__global__ void BinaryScalarKernel(BinaryOp op, View x, float s, View y, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) {
    Data<T>(y)[Offset(y, i)] = T(Apply(op, static_cast<float>(Data<T>(x)[Offset(x, i)]), s));
  }
}

template <typename X, typename Y>
__global__ void AddInPlaceKernel(View x, float alpha, View y, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) {
    const int64_t at = Offset(y, i);
    const float sum = static_cast<float>(Data<Y>(y)[at]) + alpha * static_cast<float>(Data<X>(x)[Offset(x, i)]);
    Data<Y>(y)[at] = Y(sum);
  }
}

void Unary(UnaryOp op, View x, View y, LaunchContext context) {
  const int64_t n = y.size();
  if (n == 0) return;
  DispatchFloat(y.dtype, "elementwise", [&](auto type) {
    CheckCuda(Launch(UnaryKernel<decltype(type)>, GridFor(n), kBlockThreads, 0, StreamOf(context), op, Flattened(x),
                     Flattened(y), n),
              "unary");
  });
}

void Binary(BinaryOp op, View a, View b, View y, LaunchContext context) {
  const int64_t n = y.size();
  if (n == 0) return;
  DispatchFloat(y.dtype, "elementwise", [&](auto type) {
    CheckCuda(Launch(BinaryKernel<decltype(type)>, GridFor(n), kBlockThreads, 0, StreamOf(context), op, Flattened(a),
                     Flattened(b), Flattened(y), n),
              "binary");
  });
}

void BinaryScalar(BinaryOp op, View x, double s, View y, LaunchContext context) {
  const int64_t n = y.size();
  if (n == 0) return;
  DispatchFloat(y.dtype, "elementwise", [&](auto type) {
    CheckCuda(Launch(BinaryScalarKernel<decltype(type)>, GridFor(n), kBlockThreads, 0, StreamOf(context), op,
                     Flattened(x), static_cast<float>(s), Flattened(y), n),
              "binary_scalar");
  });
}

void AddInPlace(View x, double alpha, View y, LaunchContext context) {
  const int64_t n = y.size();
  if (n == 0) return;
  DispatchFloat(y.dtype, "add_in_place", [&](auto y_type) {
    DispatchFloat(x.dtype, "add_in_place", [&](auto x_type) {
      CheckCuda(Launch(AddInPlaceKernel<decltype(x_type), decltype(y_type)>, GridFor(n), kBlockThreads, 0,
                       StreamOf(context), Flattened(x), static_cast<float>(alpha), Flattened(y), n),
                "add_in_place");
    });
  });
}

}  // namespace

extern const ElementwiseKernels kCudaElementwise = {
    .unary = Unary, .binary = Binary, .binary_scalar = BinaryScalar, .add_in_place = AddInPlace};

}  // namespace lorikeet
