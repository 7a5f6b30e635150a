#include <cmath>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_map.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::DispatchFloat;
using internal::LaunchMap;
using internal::StreamOf;

// The operation is a value, not a template parameter, and is looked at once per chunk: all threads branch alike.
template <int kCount, typename F>
__device__ inline void Each(const float (&x)[kCount], float (&y)[kCount], F f) {
  for (int j = 0; j < kCount; ++j) y[j] = f(x[j]);
}

struct UnaryMap {
  UnaryOp op;

  template <int kCount>
  __device__ void operator()(const float (&in)[1][kCount], float (&out)[1][kCount]) const {
    const auto each = [&](auto f) { Each(in[0], out[0], f); };
    switch (op) {
      case UnaryOp::kNeg:
        return each([](float x) { return -x; });
      case UnaryOp::kAbs:
        return each([](float x) { return fabsf(x); });
      case UnaryOp::kSign:
        return each([](float x) { return x > 0 ? 1.0f : (x < 0 ? -1.0f : x); });
      case UnaryOp::kExp:
        return each([](float x) { return expf(x); });
      case UnaryOp::kLog:
        return each([](float x) { return logf(x); });
      case UnaryOp::kSqrt:
        return each([](float x) { return sqrtf(x); });
      case UnaryOp::kRsqrt:
        return each([](float x) { return 1.0f / sqrtf(x); });
      case UnaryOp::kReciprocal:
        return each([](float x) { return 1.0f / x; });
      case UnaryOp::kSquare:
        return each([](float x) { return x * x; });
      case UnaryOp::kTanh:
        return each([](float x) { return tanhf(x); });
      case UnaryOp::kSigmoid:
        return each([](float x) { return 1.0f / (1.0f + expf(-x)); });
      case UnaryOp::kSilu:
        return each([](float x) { return x / (1.0f + expf(-x)); });
    }
  }
};

// f with the function that op names, of two floats.
template <typename F>
__device__ inline void WithBinary(BinaryOp op, F f) {
  switch (op) {
    case BinaryOp::kAdd:
      return f([](float a, float b) { return a + b; });
    case BinaryOp::kSub:
      return f([](float a, float b) { return a - b; });
    case BinaryOp::kMul:
      return f([](float a, float b) { return a * b; });
    case BinaryOp::kDiv:
      return f([](float a, float b) { return a / b; });
    case BinaryOp::kMaximum:
      return f([](float a, float b) { return a > b || a != a ? a : b; });  // a NaN on either side is the result
    case BinaryOp::kMinimum:
      return f([](float a, float b) { return a < b || a != a ? a : b; });
    case BinaryOp::kEqual:
      return f([](float a, float b) { return a == b ? 1.0f : 0.0f; });
    case BinaryOp::kGreater:
      return f([](float a, float b) { return a > b ? 1.0f : 0.0f; });
  }
}

struct BinaryMap {
  BinaryOp op;

  template <int kCount>
  __device__ void operator()(const float (&in)[2][kCount], float (&out)[1][kCount]) const {
    WithBinary(op, [&](auto f) {
      for (int j = 0; j < kCount; ++j) out[0][j] = f(in[0][j], in[1][j]);
    });
  }
};

struct BinaryScalarMap {
  BinaryOp op;
  float s;

  template <int kCount>
  __device__ void operator()(const float (&in)[1][kCount], float (&out)[1][kCount]) const {
    WithBinary(op, [&](auto f) { Each(in[0], out[0], [&](float x) { return f(x, s); }); });
  }
};

struct AddScaledMap {
  float alpha;

  template <int kCount>
  __device__ void operator()(const float (&in)[2][kCount], float (&out)[1][kCount]) const {
    for (int j = 0; j < kCount; ++j) out[0][j] = in[1][j] + alpha * in[0][j];
  }
};

void Unary(UnaryOp op, View x, View y, LaunchContext context) {
  DispatchFloat(y.dtype, "elementwise",
                [&]<typename T>(T) { LaunchMap<T, T>(UnaryMap{op}, {x}, {y}, StreamOf(context), "unary"); });
}

void Binary(BinaryOp op, View a, View b, View y, LaunchContext context) {
  DispatchFloat(y.dtype, "elementwise", [&]<typename T>(T) {
    LaunchMap<T, T>(BinaryMap{op}, {a, b}, {y}, StreamOf(context), "binary");
  });
}

void BinaryScalar(BinaryOp op, View x, double s, View y, LaunchContext context) {
  DispatchFloat(y.dtype, "elementwise", [&]<typename T>(T) {
    LaunchMap<T, T>(BinaryScalarMap{op, static_cast<float>(s)}, {x}, {y}, StreamOf(context), "binary_scalar");
  });
}

void AddInPlace(View x, double alpha, View y, LaunchContext context) {
  DispatchFloat(y.dtype, "add_in_place", [&]<typename Y>(Y) {
    DispatchFloat(x.dtype, "add_in_place", [&]<typename X>(X) {
      LaunchMap<X, Y>(AddScaledMap{static_cast<float>(alpha)}, {x, y}, {y}, StreamOf(context), "add_in_place");
    });
  });
}

}  // namespace

extern const ElementwiseKernels kCudaElementwise = {
    .unary = Unary, .binary = Binary, .binary_scalar = BinaryScalar, .add_in_place = AddInPlace};

}  // namespace lorikeet
