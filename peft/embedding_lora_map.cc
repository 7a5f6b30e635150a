#include "peft/embedding_lora_map.h"

#include "autograd/tape.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/gather.h"
#include "tensor/ops/matmul.h"

namespace lorikeet {

Tensor EmbeddingLoraMap::Rows(const Tensor& ids, DType dtype) const {
  // Summed in the factors' dtype and rounded once.
  Tensor rows = base_->Rows(ids, a_.value.dtype());
  tensor::MatMulInto(rows, tensor::GatherRows(b_.value, ids), false, a_.value, false, scaling_, 1);
  return rows.Cast(dtype);
}

Variable EmbeddingLoraMap::Lookup(const Tensor& ids, DType dtype) {
  const Variable a = Use(a_), b = Use(b_);
  return Record("EmbeddingLora", {a, b}, Rows(ids, dtype), {a.value(), b.value(), ids},
                [this](absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad) {
                  const Tensor &a = saved[0], &b = saved[1], &ids = saved[2];
                  const Tensor g = dy.Cast(a.dtype());
                  if (grad.wants(0)) {
                    Accumulator da = grad.Accumulate(0);
                    tensor::MatMulInto(da.buffer, tensor::GatherRows(b, ids), true, g, false, scaling_, da.beta);
                  }
                  if (!grad.wants(1)) return;
                  Accumulator db = grad.Accumulate(1);
                  if (db.beta == 0) tensor::FillInPlace(db.buffer, 0);
                  tensor::ScatterAddRows(db.buffer, ids, Product(g, a.Transpose(0, 1), scaling_));
                });
}

void EmbeddingLoraMap::Visit(Visitor& v) {
  base_->Visit(v);
  v.Leaf("lora_embedding_A", b_);
  v.Leaf("lora_embedding_B", a_);
}

}  // namespace lorikeet
