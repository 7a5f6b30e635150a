// Clipping of gradients by their global norm, as torch.nn.utils.clip_grad_norm_ does it.
//
//   const double norm = ClipGradNorm(parameters, 1.0);
//   if (!std::isfinite(norm)) ...            // nothing was changed: stop before the update, or leave this step out
//   optimizer.Step(lr);
//
//   norm = sqrt(sum of g^2 over all parameters),   g *= min(1, max_norm / (norm + 1e-6))
//
// The norm is formed in f64, in an order that depends on the shapes only, so it has the same bits for any number of
// threads. A max_norm of 0 or less means: no limit, just the norm. Parameters without a gradient count as 0. Gradients
// are scaled in place. All gradients lie on one device; for those on CUDA the host waits once, for the norm.
#ifndef LORIKEET_OPTIM_CLIP_H_
#define LORIKEET_OPTIM_CLIP_H_

#include "absl/types/span.h"
#include "autograd/parameter.h"

namespace lorikeet {

// The norm before clipping. NaN or infinite: the gradients are left as they are.
double ClipGradNorm(absl::Span<Parameter* const> parameters, double max_norm);

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_CLIP_H_
