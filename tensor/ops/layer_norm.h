// Layer normalisation over the last dimension.
//
//   auto [y, mean, rstd] = LayerNorm(x, w, b, 1e-5f);      // y = w * (x - m) * r + b,  r = 1/sqrt(var(x) + eps)
//   auto [dx, dw, db] = LayerNormGrad(dy, x, w, mean, rstd, /*want_weights=*/true);
//
// Shapes: x, y and their gradients [.., d]; w, b, dw and db [d]; mean and rstd [rows], which is all that the backward
// pass needs beside x and w.
// dtypes: x is f64, f32, bf16 or f16 and so are y, dy and dx. w and b are of x's dtype, or f32 beside bf16 and f16.
// mean, rstd, dw and db are f32 (f64 for f64).
// Errors: wrong shapes, dtypes or devices abort. Threads: any; bits do not depend on how many work.
// Source: Ba, Kiros and Hinton, "Layer normalization", 2016.
#ifndef LORIKEET_TENSOR_OPS_LAYER_NORM_H_
#define LORIKEET_TENSOR_OPS_LAYER_NORM_H_

#include "tensor/tensor.h"

namespace lorikeet::tensor {

struct LayerNormResult {
  Tensor y, mean, rstd;
};
LayerNormResult LayerNorm(const Tensor& x, const Tensor& w, const Tensor& b, float eps);

struct LayerNormGradResult {
  Tensor dx, dw, db;  // dw and db are undefined unless wanted
};
LayerNormGradResult LayerNormGrad(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                                  const Tensor& rstd, bool want_weights = true);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_LAYER_NORM_H_
