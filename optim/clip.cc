#include "optim/clip.h"

#include <cmath>

#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {

double ClipGradNorm(absl::Span<Parameter* const> parameters, double max_norm) {
  double sum = 0;
  for (const Parameter* p : parameters) {
    if (p->grad.defined()) sum += tensor::SumSquares(p->grad);
  }
  const double norm = std::sqrt(sum);
  const double factor = max_norm / (norm + 1e-6);  // torch's rule; NaN compares false
  if (!std::isfinite(norm) || max_norm <= 0 || factor >= 1) return norm;
  for (Parameter* p : parameters) {
    if (p->grad.defined()) tensor::ScaleInPlace(p->grad, factor);
  }
  return norm;
}

}  // namespace lorikeet
