// Rows of a table by index: embeddings and their gradient.
//
//   Tensor h = GatherRows(embedding, token_ids);          // [vocab, d], i32 [tokens] -> [tokens, d]
//   ScatterAddRows(dembedding, token_ids, dh);            // dembedding[token_ids[i]] += dh[i]
//   ScatterRows(k, positions, cache);                         // cache[positions[i]] = k[i]
//
// Equal ids add up, in the order of i: the bits are always the same. An id outside the table aborts, with its position.
#ifndef LORIKEET_TENSOR_OPS_GATHER_H_
#define LORIKEET_TENSOR_OPS_GATHER_H_

#include "tensor/tensor.h"

namespace lorikeet::tensor {

// table [v, d] of any dtype, ids i32 [n] -> [n, d] of table's dtype.
Tensor GatherRows(const Tensor& table, const Tensor& ids);
// table [v, d] of x's dtype, ids i32 [n], each once, x [n, d].
void ScatterRows(const Tensor& x, const Tensor& ids, Tensor& table);
// dtable [v, d] f32 or f64, ids i32 [n], dy [n, d] of any float dtype.
void ScatterAddRows(Tensor& dtable, const Tensor& ids, const Tensor& dy);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_GATHER_H_
