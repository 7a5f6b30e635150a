#include "autograd/ops/attention.h"

#include <vector>

#include "autograd/checkpoint.h"
#include "autograd/tape.h"

namespace lorikeet {

// y = softmax(scale*q*k^T + mask)*v, row by row of q; l = log-sum-exp of each row.     Saves q, k, v, y and l.
// Checkpoint may keep y and l.
//   P = exp(scale*q*k^T - l),  dP = dy*v^T,  dS = scale*P*(dP - rowsum(dy*y));   dq = dS*k, dk = dS^T*q, dv = P^T*dy.
Variable Attention(const Variable& q, const Variable& k, const Variable& v, const tensor::AttentionArgs& args) {
  const std::vector<Tensor> values = Kept([&] {
    auto [y, lse] = tensor::Attention(q.value(), k.value(), v.value(), args);
    return std::vector<Tensor>{y, lse};
  });
  const Tensor &y = values[0], &lse = values[1];
  return Record("Attention", {q, k, v}, y, {q.value(), k.value(), v.value(), y, lse},
                [args](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  auto [dq, dk, dv] = tensor::AttentionGrad(dy, saved[0], saved[1], saved[2], saved[3], saved[4], args);
                  grad.Add(0, dq);
                  grad.Add(1, dk);
                  grad.Add(2, dv);
                });
}

}  // namespace lorikeet
