#include "tensor/ops/softmax.h"

#include <cstdint>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/softmax.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/view.h"

namespace lorikeet::tensor {
namespace {

const SoftmaxKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuSoftmax : kCudaSoftmax; }

// [.., d] as [n, d], contiguous.
Tensor Rows(const char* op, const Tensor& x) {
  CheckFloat(op, x);
  LORIKEET_CHECK(x.rank() > 0) << op << ": x is " << Describe(x) << ", expected [.., d]";
  int64_t n = 1;
  for (int i = 0; i < x.rank() - 1; ++i) n *= x.dim(i);
  return x.Reshape({n, x.dim(-1)});
}

Tensor Forward(const char* op, void (*kernel)(View, View, LaunchContext), const Tensor& x) {
  const Tensor rows = Rows(op, x);
  Tensor y = Tensor::Empty(rows.shape(), x.dtype(), x.device());
  KernelOrDie(kernel, op, x)(rows.view(), y.view(), {});
  return y.Reshape(x.shape());
}

Tensor Grad(const char* op, void (*kernel)(View, View, View, LaunchContext), const Tensor& dy, const Tensor& y) {
  const Tensor rows = Rows(op, y);
  CheckLike(op, "dy", dy, y);
  Tensor dx = Tensor::Empty(rows.shape(), y.dtype(), y.device());
  KernelOrDie(kernel, op, y)(Rows(op, dy).view(), rows.view(), dx.view(), {});
  return dx.Reshape(y.shape());
}

}  // namespace

Tensor Softmax(const Tensor& x) { return Forward("Softmax", KernelsFor(x.device()).softmax, x); }
Tensor LogSoftmax(const Tensor& x) { return Forward("LogSoftmax", KernelsFor(x.device()).log_softmax, x); }
Tensor SoftmaxGrad(const Tensor& dy, const Tensor& y) {
  return Grad("SoftmaxGrad", KernelsFor(y.device()).softmax_grad, dy, y);
}
Tensor LogSoftmaxGrad(const Tensor& dy, const Tensor& y) {
  return Grad("LogSoftmaxGrad", KernelsFor(y.device()).log_softmax_grad, dy, y);
}

}  // namespace lorikeet::tensor
