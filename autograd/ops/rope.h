// Differentiable rotary position embedding.
//
//   tensor::RopeTable table = tensor::MakeRopeTable(positions, inv_freq);     // once per batch
//   Variable q = Rope(q_heads, table);                                       // [tokens, heads, head_dim]
//
// Su et al., "RoFormer", 2021.
#ifndef LORIKEET_AUTOGRAD_OPS_ROPE_H_
#define LORIKEET_AUTOGRAD_OPS_ROPE_H_

#include "autograd/variable.h"
#include "tensor/ops/rope.h"

namespace lorikeet {

Variable Rope(const Variable& x, const tensor::RopeTable& table);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_OPS_ROPE_H_
