#include "optim/clip.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"
#include "tensor/tensor.h"

namespace lorikeet {

namespace {

// The sums of g^2 of every gradient, where the gradients are; one copy brings them to the host, and they are added
// there in order.
double SumSquares(const std::vector<Tensor>& gradients) {
  if (gradients.empty()) return 0;
  const int64_t n = static_cast<int64_t>(gradients.size());
  Tensor sums = Tensor::Empty({n}, DType::kF64, gradients[0].device());
  for (int64_t i = 0; i < n; ++i) {
    Tensor one = sums.Slice(0, i, i + 1);
    tensor::SumSquaresInto(one, gradients[i]);
  }
  double sum = 0;
  const Tensor here = sums.To(kCpu);
  for (double s : here.data<double>()) sum += s;
  return sum;
}

}  // namespace

double ClipGradNorm(absl::Span<Parameter* const> parameters, double max_norm) {
  std::vector<Tensor> gradients;
  for (const Parameter* p : parameters) {
    if (p->grad.defined()) gradients.push_back(p->grad);
  }
  const double norm = std::sqrt(SumSquares(gradients));
  const double factor = max_norm / (norm + 1e-6);  // torch's rule; NaN compares false
  if (!std::isfinite(norm) || max_norm <= 0 || factor >= 1) return norm;
  for (Tensor& g : gradients) tensor::ScaleInPlace(g, factor);
  return norm;
}

}  // namespace lorikeet
