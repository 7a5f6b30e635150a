#include "tensor/dtype.h"
#include "tensor/kernels/attention_grad_cuda.h"
#include "tensor/kernels/launch.h"

namespace lorikeet::internal {

void GradF16(const GradArgs<f16>& args, LaunchContext context) { GradFor(args, context); }

}  // namespace lorikeet::internal
