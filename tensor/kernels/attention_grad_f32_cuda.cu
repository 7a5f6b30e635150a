#include "tensor/dtype.h"
#include "tensor/kernels/attention_grad_cuda.h"
#include "tensor/kernels/launch.h"

namespace lorikeet::internal {

void GradF32(const GradArgs<float>& args, LaunchContext context) { GradFor(args, context); }

}  // namespace lorikeet::internal
