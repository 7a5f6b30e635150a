// Columns of a matrix times a factor each, which keeps its digits where the matrix has 16 bits.
//
//   Tensor y = ColumnScale(x, g, DType::kBF16);        // y[t,j] = x[t,j] * g[j]      x [tokens, d], g [d] f32
//   auto [dx, dot] = ColumnScaleGrad(dy, y, g);        // dx = dy * g,  dot[j] = sum_t dy[t,j] * y[t,j]
//
// dtypes: x and y are f64, f32, bf16 or f16, f64 only together; g and dot are f32 (f64 for f64); dy and dx have x's.
// Arithmetic is in f32 (f64 for f64), rounded once. Where y = x*g, d loss/dg = sum_t dy*x = dot / g if dot was taken
// with y: so x need not be kept.
// Errors: wrong shapes, dtypes or devices abort. Threads: any; bits do not depend on how many work.
#ifndef LORIKEET_TENSOR_OPS_COLUMN_SCALE_H_
#define LORIKEET_TENSOR_OPS_COLUMN_SCALE_H_

#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

Tensor ColumnScale(const Tensor& x, const Tensor& g, DType dtype);

struct ColumnScaleGrads {
  Tensor dx, dot;  // dot is undefined unless wanted
};
ColumnScaleGrads ColumnScaleGrad(const Tensor& dy, const Tensor& x, const Tensor& g, bool want_dot = true);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_COLUMN_SCALE_H_
