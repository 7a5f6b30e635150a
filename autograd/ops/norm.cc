#include "autograd/ops/norm.h"

#include <utility>
#include <vector>

#include "autograd/saved_value.h"
#include "autograd/tape.h"
#include "tensor/ops/layer_norm.h"
#include "tensor/ops/norm.h"

namespace lorikeet {

// y = w*x*r,  r = 1/sqrt(mean(x^2)+eps) per row.      x [.., d], w [d].   Others save y by its recipe.
//   dx = r*(w*dy - x*r^2*mean(w*dy*x)),   dw = sum_rows dy*x*r.     Saves x, w and one r per row.
Variable RmsNorm(const Variable& x, const Variable& w, float eps) {
  auto [y, rstd] = tensor::RmsNorm(x.value(), w.value(), eps);
  Variable result = Record("RmsNorm", {x, w}, y, {x.value(), w.value(), rstd},
                           [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                             auto [dx, dw] = tensor::RmsNormGrad(dy, saved[0], saved[1], saved[2], grad.wants(1));
                             grad.Add(0, dx);
                             if (grad.wants(1)) grad.Add(1, dw);
                           });
  return Recomputed(std::move(result), [x = x.value(), w = w.value(), eps] { return tensor::RmsNorm(x, w, eps).y; });
}

// h = x + residual,  y = RmsNorm(h, w).
//   dh' = dh + RmsNorm's dx;   dx = dresidual = dh',   dw as above.     Saves h, w and one r per row; y as above.
std::pair<Variable, Variable> AddRmsNorm(const Variable& x, const Variable& residual, const Variable& w, float eps) {
  auto [h, y, rstd] = tensor::AddRmsNorm(x.value(), residual.value(), w.value(), eps);
  const std::vector<Variable> out =
      RecordMany("AddRmsNorm", {x, residual, w}, {h, y}, {h, w.value(), rstd},
                 [](absl::Span<Tensor> saved, absl::Span<const Tensor> dys, GradSink& grad) {
                   if (!dys[1].defined()) {  // only h was used
                     grad.Add(0, dys[0]);
                     grad.Add(1, dys[0]);
                     return;
                   }
                   auto [dx, dw] = tensor::AddRmsNormGrad(dys[1], dys[0], saved[0], saved[1], saved[2], grad.wants(2));
                   grad.Add(0, dx);
                   grad.Add(1, dx);
                   if (grad.wants(2)) grad.Add(2, dw);
                 });
  return {out[0], Recomputed(out[1], [sum = h, w = w.value(), eps] { return tensor::RmsNorm(sum, w, eps).y; })};
}

// y = w*xr + b,  xr = (x - m)*r,  m = mean(x),  r = 1/sqrt(mean((x-m)^2)+eps) per row.   Others save y by its recipe.
//   dx = r*(w*dy - mean(w*dy) - xr*mean(w*dy*xr)),   dw = sum_rows dy*xr,   db = sum_rows dy.
// Saves x, w, b and one m and one r per row.
Variable LayerNorm(const Variable& x, const Variable& w, const Variable& b, float eps) {
  auto [y, mean, rstd] = tensor::LayerNorm(x.value(), w.value(), b.value(), eps);
  Variable result = Record("LayerNorm", {x, w, b}, y, {x.value(), w.value(), mean, rstd, b.value()},
                           [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                             const bool weights = grad.wants(1) || grad.wants(2);
                             auto [dx, dw, db] =
                                 tensor::LayerNormGrad(dy, saved[0], saved[1], saved[2], saved[3], weights);
                             grad.Add(0, dx);
                             if (grad.wants(1)) grad.Add(1, dw);
                             if (grad.wants(2)) grad.Add(2, db);
                           });
  return Recomputed(std::move(result),
                    [x = x.value(), w = w.value(), b = b.value(), eps] { return tensor::LayerNorm(x, w, b, eps).y; });
}

}  // namespace lorikeet
