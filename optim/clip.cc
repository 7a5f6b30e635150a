#include "optim/clip.h"

#include <cmath>
#include <vector>

#include "tensor/device.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {

GradNorm::GradNorm(absl::Span<Parameter* const> parameters) {
  std::vector<Tensor> gradients;
  for (const Parameter* p : parameters) {
    if (p->grad.defined()) gradients.push_back(p->grad);
  }
  if (!gradients.empty()) sums_ = tensor::SumSquaresOfEach(gradients);
}

// One copy brings the sums to the host, where they are added in order.
double GradNorm::Get() const {
  if (!sums_.defined()) return 0;
  double sum = 0;
  const Tensor here = sums_.To(kCpu);
  for (double s : here.data<double>()) sum += s;
  return std::sqrt(sum);
}

double ClipFactor(double norm, double max_norm) {
  if (max_norm <= 0) return 1;
  const double factor = max_norm / (norm + 1e-6);
  return factor >= 1 ? 1 : factor;  // NaN compares false
}

}  // namespace lorikeet
