// Softmax and its logarithm over the last dimension.
//
//   Tensor p = Softmax(scores);                       // [.., d] -> [.., d], rows sum to 1
//   Tensor dx = SoftmaxGrad(dp, p);
//
// Results are fresh, contiguous, of x's dtype; arithmetic in f32 (f64 for f64). A row of -infinity has softmax 0,
// log-softmax -infinity and gradient 0; a NaN or +infinity makes its row NaN. Errors: misuse aborts.
#ifndef LORIKEET_TENSOR_OPS_SOFTMAX_H_
#define LORIKEET_TENSOR_OPS_SOFTMAX_H_

#include "tensor/tensor.h"

namespace lorikeet::tensor {

Tensor Softmax(const Tensor& x);     // e^x / sum e^x
Tensor LogSoftmax(const Tensor& x);  // x - ln sum e^x
// From the gradient of y and y itself: dx = y * (dy - sum dy*y), and dx = dy - e^y * sum dy.
Tensor SoftmaxGrad(const Tensor& dy, const Tensor& y);
Tensor LogSoftmaxGrad(const Tensor& dy, const Tensor& y);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_SOFTMAX_H_
