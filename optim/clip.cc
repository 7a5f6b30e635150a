#include "optim/clip.h"

#include <cmath>
#include <vector>

#include "tensor/device.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {

GradNorm::GradNorm(absl::Span<Parameter* const> parameters, absl::Span<const Tensor> others) {
  std::vector<Tensor> all;
  for (const Parameter* p : parameters) {
    if (p->grad.defined()) all.push_back(p->grad);
  }
  gradients_ = static_cast<int64_t>(all.size());
  all.insert(all.end(), others.begin(), others.end());
  sums_ = tensor::SumSquaresOfEach(all);
}

double GradNorm::Get() const { return Of(sums_.To(kCpu)); }

// Added in order.
double GradNorm::Of(const Tensor& sums) const {
  const absl::Span<const double> each = sums.data<double>();
  double sum = 0;
  for (int64_t i = 0; i < sums.size(); ++i) {
    if (i < gradients_ || !std::isfinite(each[i])) sum += each[i];
  }
  return std::sqrt(sum);
}

}  // namespace lorikeet
