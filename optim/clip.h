// The gradients' global norm, and clipping by it as torch.nn.utils.clip_grad_norm_ does.
//
//   const GradNorm pending(parameters);              // on a GPU the device begins; other work may be given behind it
//   const double norm = pending.Get();               // the host waits
//   if (!std::isfinite(norm)) ...                    // stop before the update, or leave this step out
//   optimizer.Step(lr, ClipFactor(norm, 1.0));       // the update multiplies every gradient with it
//
//   norm = sqrt(sum of g^2 over all parameters),   factor = min(1, max_norm / (norm + 1e-6))
//
// The norm is formed in f64, in an order that depends on the shapes only, so it has the same bits for any number of
// threads. Parameters without a gradient count as 0. The gradients are not touched: the update reads them anyway, and
// scaling them first would cost a pass. All gradients lie on one device. Threads: one.
#ifndef LORIKEET_OPTIM_CLIP_H_
#define LORIKEET_OPTIM_CLIP_H_

#include "absl/types/span.h"
#include "autograd/parameter.h"
#include "tensor/tensor.h"

namespace lorikeet {

class GradNorm {
 public:
  explicit GradNorm(absl::Span<Parameter* const> parameters);
  double Get() const;  // NaN or infinite: so is a gradient

 private:
  Tensor sums_;  // of g^2, one f64 for each gradient, where the gradients are; undefined: there are none
};

// A max_norm of 0 or less means: no limit. NaN if the norm is.
double ClipFactor(double norm, double max_norm);

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_CLIP_H_
