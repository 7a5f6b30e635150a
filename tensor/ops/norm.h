// Root-mean-square normalisation over the last dimension.
//
//   auto [y, rstd] = RmsNorm(x, w, 1e-5f);                       // y = w * x * r,  r = 1/sqrt(mean(x^2) + eps)
//   auto [dx, dw] = RmsNormGrad(dy, x, w, rstd, /*want_dw=*/true);
//   auto [sum, y, rstd] = AddRmsNorm(x, residual, w, 1e-5f);     // of sum = x + residual, in one pass over memory
//   auto [dsum_in, dw] = AddRmsNormGrad(dy, dsum, sum, w, rstd, true);
//
// Shapes: x, residual, sum, y and their gradients [.., d]; w and dw [d]; rstd [..], one r per row, which is all that
// the backward pass needs beside x and w.
// dtypes: x is f64, f32, bf16 or f16 and so are y, sum and their gradients. w is of x's dtype, or f32 beside bf16 and
// f16. rstd and dw are f32 (f64 for f64). tensor/kernels/norm.h says how rows of zeros, of 1e20 and of NaN behave.
// Errors: wrong shapes, dtypes or devices abort. Threads: any; bits do not depend on how many work.
// Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.
#ifndef LORIKEET_TENSOR_OPS_NORM_H_
#define LORIKEET_TENSOR_OPS_NORM_H_

#include "tensor/tensor.h"

namespace lorikeet::tensor {

struct RmsNormResult {
  Tensor y, rstd;
};
RmsNormResult RmsNorm(const Tensor& x, const Tensor& w, float eps);

struct RmsNormGradResult {
  Tensor dx, dw;  // dw is undefined unless wanted
};
RmsNormGradResult RmsNormGrad(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                              bool want_dw = true);

// The residual stream: sum = x + residual, rounded to its dtype, and y = RmsNorm(sum).
struct AddRmsNormResult {
  Tensor sum, y, rstd;
};
AddRmsNormResult AddRmsNorm(const Tensor& x, const Tensor& residual, const Tensor& w, float eps);

// dx is the gradient of x and of the residual alike: that through the norm plus dsum, the gradient that reached `sum`
// by its other uses (undefined: none).
RmsNormGradResult AddRmsNormGrad(const Tensor& dy, const Tensor& dsum, const Tensor& sum, const Tensor& w,
                                 const Tensor& rstd, bool want_dw = true);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_NORM_H_
