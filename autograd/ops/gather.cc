#include "autograd/ops/gather.h"

#include "autograd/tape.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/gather.h"

namespace lorikeet {

// y[i] = table[ids[i]], in f32 or f64 if the table trains.   dtable[ids[i]] += dy[i].   Saves ids.
Variable GatherRows(const Variable& table, const Tensor& ids) {
  return Record("GatherRows", {table}, tensor::GatherRows(table.value(), ids), {ids},
                [](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  Accumulator dtable = grad.Accumulate(0);
                  if (dtable.beta == 0) tensor::FillInPlace(dtable.buffer, 0);
                  tensor::ScatterAddRows(dtable.buffer, saved[0], dy);
                });
}

}  // namespace lorikeet
