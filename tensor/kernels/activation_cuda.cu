#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_map.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::DispatchFloat;
using internal::LaunchMap;
using internal::StreamOf;

// 1 / (1 + e^-x). An infinite e^-x gives 0.
__device__ inline float Sigmoid(float x) { return RcpApprox(1.0f + expf(-x)); }

// x * s and its slope, of gelu: s = (1 + tanh(u))/2 = 1/(1 + e^-2u). Beyond +-16 s is 0 or 1 to the last bit, so that x
// is cut off there and x^3 stays finite; a NaN is not cut off.
struct GeluAt {
  float value, slope;

  __device__ explicit GeluAt(float x) {
    constexpr float kLinear = 1.5957691216057308f, kCubic = 0.07135481627159537f;  // 2u = kLinear*x + kCubic*x^3
    const float c = x > 16.0f ? 16.0f : (x < -16.0f ? -16.0f : x), cc = c * c;
    const float e = expf(fminf(-c * (kCubic * cc + kLinear), 80.0f));  // finite
    const float s = RcpApprox(1.0f + e), rest = e * s;                 // 1 - s, without the loss of digits
    slope = s + c * s * rest * (3.0f * kCubic * cc + kLinear);
    value = (x > c ? x : c) * s;  // of -infinity, 0
  }
};

struct SwiGluMap {
  template <int kCount>
  __device__ void operator()(const float (&in)[2][kCount], float (&out)[1][kCount]) const {
    for (int j = 0; j < kCount; ++j) out[0][j] = in[0][j] * Sigmoid(in[0][j]) * in[1][j];
  }
};

struct SwiGluGradMap {
  template <int kCount>
  __device__ void operator()(const float (&in)[3][kCount], float (&out)[2][kCount]) const {
    for (int j = 0; j < kCount; ++j) {
      const float dy = in[0][j], gate = in[1][j], up = in[2][j];
      const float s = Sigmoid(gate), silu = gate * s;
      out[0][j] = dy * up * (s + silu * (1.0f - s));
      out[1][j] = dy * silu;
    }
  }
};

struct GeluMap {
  template <int kCount>
  __device__ void operator()(const float (&in)[1][kCount], float (&out)[1][kCount]) const {
    for (int j = 0; j < kCount; ++j) out[0][j] = GeluAt(in[0][j]).value;
  }
};

struct GeluGradMap {
  template <int kCount>
  __device__ void operator()(const float (&in)[2][kCount], float (&out)[1][kCount]) const {
    for (int j = 0; j < kCount; ++j) out[0][j] = in[0][j] * GeluAt(in[1][j]).slope;
  }
};

struct GeGluMap {
  template <int kCount>
  __device__ void operator()(const float (&in)[2][kCount], float (&out)[1][kCount]) const {
    for (int j = 0; j < kCount; ++j) out[0][j] = GeluAt(in[0][j]).value * in[1][j];
  }
};

struct GeGluGradMap {
  template <int kCount>
  __device__ void operator()(const float (&in)[3][kCount], float (&out)[2][kCount]) const {
    for (int j = 0; j < kCount; ++j) {
      const GeluAt gelu(in[1][j]);
      out[0][j] = in[0][j] * in[2][j] * gelu.slope;
      out[1][j] = in[0][j] * gelu.value;
    }
  }
};

template <typename F, int kIn, int kOut>
void Map(const View (&in)[kIn], const View (&out)[kOut], LaunchContext context, const char* what) {
  DispatchFloat(out[0].dtype, what, [&]<typename T>(T) { LaunchMap<T, T>(F(), in, out, StreamOf(context), what); });
}

void SwiGlu(View gate, View up, View y, LaunchContext context) {
  Map<SwiGluMap, 2, 1>({gate, up}, {y}, context, "swiglu");
}

void SwiGluGrad(View dy, View gate, View up, View dgate, View dup, LaunchContext context) {
  Map<SwiGluGradMap, 3, 2>({dy, gate, up}, {dgate, dup}, context, "swiglu_grad");
}

void Gelu(View x, View y, LaunchContext context) { Map<GeluMap, 1, 1>({x}, {y}, context, "gelu"); }

void GeluGrad(View dy, View x, View dx, LaunchContext context) {
  Map<GeluGradMap, 2, 1>({dy, x}, {dx}, context, "gelu_grad");
}

void GeGlu(View gate, View up, View y, LaunchContext context) {
  Map<GeGluMap, 2, 1>({gate, up}, {y}, context, "geglu");
}

void GeGluGrad(View dy, View gate, View up, View dgate, View dup, LaunchContext context) {
  Map<GeGluGradMap, 3, 2>({dy, gate, up}, {dgate, dup}, context, "geglu_grad");
}

}  // namespace

extern const ActivationKernels kCudaActivation = {.swiglu = SwiGlu,
                                                  .swiglu_grad = SwiGluGrad,
                                                  .gelu = Gelu,
                                                  .gelu_grad = GeluGrad,
                                                  .geglu = GeGlu,
                                                  .geglu_grad = GeGluGrad};

}  // namespace lorikeet
