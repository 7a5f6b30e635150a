// GELU and gated activations: the contract of a backend.
//
//   swiglu       y = silu(gate) * up,  silu(g) = g * s,  s = 1 / (1 + e^-g)
//   swiglu_grad  dgate = dy * up * (s + silu(gate) * (1 - s)),  dup = dy * silu(gate)
//   gelu         y = gelu(x) = x * (1 + tanh(u)) / 2,  u = sqrt(2/pi) * (x + 0.044715 * x^3)
//   gelu_grad    dx = dy * gelu'(x)
//   geglu        y = gelu(gate) * up
//   geglu_grad   dgate = dy * up * gelu'(gate),  dup = dy * gelu(gate)
//
// All views have the same dims and dtype, any strides. Arithmetic in f32 (f64 for f64), rounded once. An output may be
// the same view as an input. Sources: Shazeer, "GLU variants improve transformer", 2020; Hendrycks and Gimpel,
// "Gaussian error linear units", 2016.
#ifndef LORIKEET_TENSOR_KERNELS_ACTIVATION_H_
#define LORIKEET_TENSOR_KERNELS_ACTIVATION_H_

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct ActivationKernels {
  void (*swiglu)(View gate, View up, View y, LaunchContext) = nullptr;
  void (*swiglu_grad)(View dy, View gate, View up, View dgate, View dup, LaunchContext) = nullptr;
  void (*gelu)(View x, View y, LaunchContext) = nullptr;
  void (*gelu_grad)(View dy, View x, View dx, LaunchContext) = nullptr;
  void (*geglu)(View gate, View up, View y, LaunchContext) = nullptr;
  void (*geglu_grad)(View dy, View gate, View up, View dgate, View dup, LaunchContext) = nullptr;
};

extern const ActivationKernels kCpuActivation;
extern const ActivationKernels kCudaActivation;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_ACTIVATION_H_
