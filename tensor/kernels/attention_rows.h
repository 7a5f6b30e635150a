// Attention for a few queries a sequence, which is generation: keys and values are read once, where they lie, instead
// of being packed into tiles for hundreds of queries that do not come.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_ROWS_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_ROWS_H_

#include "tensor/kernels/attention.h"
#include "tensor/view.h"

namespace lorikeet::internal {

// f32 or bf16 with contiguous rows, and at most 4 queries in every sequence.
bool FitsAttentionRows(const View& k, const View& v, const AttentionParams& params);

// kCpuAttention.attention, where that holds.
void AttentionRows(const View& q, const View& k, const View& v, const AttentionParams& params, const View& y,
                   const View& lse);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_ROWS_H_
