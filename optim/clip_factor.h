// ClipFactor: what gradients of a norm are multiplied with, so that it is max_norm at most; torch's clip_grad_norm_.
//
//   const double factor = ClipFactor(norm, 1.0);         // min(1, max_norm / (norm + 1e-6))
//
// A max_norm of 0 or less means: no limit. NaN if the norm is. For the host and for .cu files.
#ifndef LORIKEET_OPTIM_CLIP_FACTOR_H_
#define LORIKEET_OPTIM_CLIP_FACTOR_H_

namespace lorikeet {

constexpr double ClipFactor(double norm, double max_norm) {
  if (max_norm <= 0) return 1;
  const double factor = max_norm / (norm + 1e-6);
  return factor >= 1 ? 1 : factor;  // NaN compares false
}

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_CLIP_FACTOR_H_
