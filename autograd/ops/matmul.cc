#include "autograd/ops/matmul.h"

#include "autograd/tape.h"
#include "tensor/ops/matmul.h"

namespace lorikeet {

// y = op(a)*op(b), op(a) = a or a^T.   Saves a, b.
//   da = dy*op(b)^T, or its transpose op(b)*dy^T when a enters transposed; db likewise.
Variable MatMul(const Variable& a, const Variable& b, bool ta, bool tb) {
  return Record("MatMul", {a, b}, tensor::MatMul(a.value(), b.value(), ta, tb), {a.value(), b.value()},
                [ta, tb](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  const Tensor &a = saved[0], &b = saved[1];
                  if (grad.wants(0)) {
                    Accumulator da = grad.Accumulate(0);
                    if (ta) {
                      tensor::MatMulInto(da.buffer, b, tb, dy, true, 1, da.beta);
                    } else {
                      tensor::MatMulInto(da.buffer, dy, false, b, !tb, 1, da.beta);
                    }
                  }
                  if (grad.wants(1)) {
                    Accumulator db = grad.Accumulate(1);
                    if (tb) {
                      tensor::MatMulInto(db.buffer, dy, true, a, ta, 1, db.beta);
                    } else {
                      tensor::MatMulInto(db.buffer, a, !ta, dy, false, 1, db.beta);
                    }
                  }
                });
}

}  // namespace lorikeet
