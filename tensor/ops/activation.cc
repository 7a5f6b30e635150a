#include "tensor/ops/activation.h"

#include "tensor/device.h"
#include "tensor/kernels/activation.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet::tensor {
namespace {

const ActivationKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuActivation : kCudaActivation; }

Tensor Fresh(const Tensor& like) { return Tensor::Empty(like.shape(), like.dtype(), like.device()); }

void CheckOperands(const char* op, const Tensor& gate, const Tensor& up) {
  CheckFloat(op, gate);
  CheckLike(op, "up", up, gate);
}

}  // namespace

Tensor SwiGlu(const Tensor& gate, const Tensor& up) {
  CheckOperands("SwiGlu", gate, up);
  Tensor y = Fresh(gate);
  KernelOrDie(KernelsFor(gate.device()).swiglu, "SwiGlu", gate)(gate.view(), up.view(), y.view(), {});
  return y;
}

GatedGrads SwiGluGrad(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  GatedGrads grads = {Fresh(gate), Fresh(gate)};
  SwiGluGradInto(dy, gate, up, grads.dgate, grads.dup);
  return grads;
}

void SwiGluGradInto(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup) {
  CheckOperands("SwiGluGrad", gate, up);
  CheckLike("SwiGluGrad", "dy", dy, gate);
  CheckLike("SwiGluGrad", "dgate", dgate, gate);
  CheckLike("SwiGluGrad", "dup", dup, gate);
  CheckWritable("SwiGluGrad", dgate);
  CheckWritable("SwiGluGrad", dup);
  KernelOrDie(KernelsFor(gate.device()).swiglu_grad, "SwiGluGrad", gate)(dy.view(), gate.view(), up.view(),
                                                                         dgate.view(), dup.view(), {});
}

Tensor Gelu(const Tensor& x) {
  CheckFloat("Gelu", x);
  Tensor y = Fresh(x);
  KernelOrDie(KernelsFor(x.device()).gelu, "Gelu", x)(x.view(), y.view(), {});
  return y;
}

Tensor GeluGrad(const Tensor& dy, const Tensor& x) {
  CheckFloat("GeluGrad", x);
  CheckLike("GeluGrad", "dy", dy, x);
  Tensor dx = Fresh(x);
  KernelOrDie(KernelsFor(x.device()).gelu_grad, "GeluGrad", x)(dy.view(), x.view(), dx.view(), {});
  return dx;
}

Tensor GeGlu(const Tensor& gate, const Tensor& up) {
  CheckOperands("GeGlu", gate, up);
  Tensor y = Fresh(gate);
  KernelOrDie(KernelsFor(gate.device()).geglu, "GeGlu", gate)(gate.view(), up.view(), y.view(), {});
  return y;
}

GatedGrads GeGluGrad(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  CheckOperands("GeGluGrad", gate, up);
  CheckLike("GeGluGrad", "dy", dy, gate);
  GatedGrads grads = {Fresh(gate), Fresh(gate)};
  KernelOrDie(KernelsFor(gate.device()).geglu_grad, "GeGluGrad", gate)(dy.view(), gate.view(), up.view(),
                                                                       grads.dgate.view(), grads.dup.view(), {});
  return grads;
}

}  // namespace lorikeet::tensor
