#include "tensor/ops/activation.h"

#include "tensor/device.h"
#include "tensor/kernels/activation.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet::tensor {
namespace {

const ActivationKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuActivation : kCudaActivation; }

}  // namespace

Tensor SwiGlu(const Tensor& gate, const Tensor& up) {
  CheckFloat("SwiGlu", gate);
  CheckLike("SwiGlu", "up", up, gate);
  Tensor y = Tensor::Empty(gate.shape(), gate.dtype(), gate.device());
  KernelOrDie(KernelsFor(gate.device()).swiglu, "SwiGlu", gate)(gate.view(), up.view(), y.view(), {});
  return y;
}

SwiGluGrads SwiGluGrad(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  SwiGluGrads grads = {Tensor::Empty(gate.shape(), gate.dtype(), gate.device()),
                       Tensor::Empty(gate.shape(), gate.dtype(), gate.device())};
  SwiGluGradInto(dy, gate, up, grads.dgate, grads.dup);
  return grads;
}

void SwiGluGradInto(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup) {
  CheckFloat("SwiGluGrad", gate);
  CheckLike("SwiGluGrad", "up", up, gate);
  CheckLike("SwiGluGrad", "dy", dy, gate);
  CheckLike("SwiGluGrad", "dgate", dgate, gate);
  CheckLike("SwiGluGrad", "dup", dup, gate);
  CheckWritable("SwiGluGrad", dgate);
  CheckWritable("SwiGluGrad", dup);
  KernelOrDie(KernelsFor(gate.device()).swiglu_grad, "SwiGluGrad", gate)(dy.view(), gate.view(), up.view(),
                                                                         dgate.view(), dup.view(), {});
}

}  // namespace lorikeet::tensor
