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
// scaling them first would cost a pass. All gradients lie on one device. Threads: one. A host that does not wait at all
// lets the device decide about the update (optim/update_gate.h).
#ifndef LORIKEET_OPTIM_CLIP_H_
#define LORIKEET_OPTIM_CLIP_H_

#include <cstdint>

#include "absl/types/span.h"
#include "autograd/parameter.h"
#include "optim/clip_factor.h"
#include "tensor/tensor.h"

namespace lorikeet {

class GradNorm {
 public:
  // `others`, f32 or f64: a loss, say, which has no part in the norm but to make it NaN if it is not finite.
  explicit GradNorm(absl::Span<Parameter* const> parameters, absl::Span<const Tensor> others = {});
  double Get() const;  // NaN or infinite: so is a gradient

  // Of squares, an f64 [n] where the gradients are: one for each of gradients(), then one for each of the others.
  const Tensor& sums() const { return sums_; }
  int64_t gradients() const { return gradients_; }
  double Of(const Tensor& sums) const;  // Get() from a copy of them on the host

 private:
  Tensor sums_;
  int64_t gradients_;
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_CLIP_H_
