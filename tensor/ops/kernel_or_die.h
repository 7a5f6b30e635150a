// KernelOrDie: a backend's entry for an op, or an abort that names what the backend lacks.
//
//   KernelOrDie(KernelsFor(x.device()).unary, "Exp", x)(UnaryOp::kExp, x.view(), y.view(), {});
//
// A null entry in a backend's table is a kernel that it does not have.
#ifndef LORIKEET_TENSOR_OPS_KERNEL_OR_DIE_H_
#define LORIKEET_TENSOR_OPS_KERNEL_OR_DIE_H_

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

template <typename Kernel>
Kernel* KernelOrDie(Kernel* kernel, const char* op, const Tensor& x) {
  LORIKEET_CHECK(kernel != nullptr) << op << ": no kernel for " << ToString(x.device());
  return kernel;
}

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_KERNEL_OR_DIE_H_
