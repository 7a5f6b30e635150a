// Attention in f64, for gradient checks: the formulas of attention.h one query and one key at a time. Plain, not fast.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_F64_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_F64_H_

#include "tensor/kernels/attention.h"
#include "tensor/view.h"

namespace lorikeet::internal {

// All views are f64.
void AttentionF64(const View& q, const View& k, const View& v, const AttentionParams& params, const View& y,
                  const View& lse);
void AttentionGradF64(const View& dy, const View& q, const View& k, const View& v, const View& y, const View& lse,
                      const AttentionParams& params, const View& dq, const View& dk, const View& dv);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_F64_H_
