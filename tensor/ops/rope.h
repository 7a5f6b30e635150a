// Rotary position embedding (RoPE): each pair of elements of a head is rotated by an angle that grows with the token's
// position.
//
//   Tensor inv_freq = RopeFrequencies(/*theta=*/10000, /*head_dim=*/64);   // once per model: rope_scaling.h
//   RopeTable table = MakeRopeTable(positions, inv_freq);                  // once per batch, for all layers and heads
//   Tensor q_rotated = Rope(q, table);                                     // q [tokens, heads, head_dim]
//   Tensor dq = RopeGrad(dq_rotated, table);
//
// Pair i of a head is elements i and i + head_dim/2 in the split-half layout (Hugging Face's checkpoints), 2i and
// 2i + 1 in the interleaved one (GPT-J; the rows of GGUF's llama files). A table for fewer dimensions than a head has
// rotates the first ones and leaves the rest (GPT-NeoX's and Phi's partial rotation).
// Errors: wrong shapes, dtypes or devices abort. Threads: any.
// Source: Su et al., "RoFormer", 2021.
#ifndef LORIKEET_TENSOR_OPS_ROPE_H_
#define LORIKEET_TENSOR_OPS_ROPE_H_

#include <cstdint>

#include "tensor/tensor.h"

namespace lorikeet {

namespace tensor {

enum class RopeLayout : uint8_t { kSplitHalf, kInterleaved };

// Cosines and sines of a batch, [tokens, rotated dimensions / 2] each, on the positions' device, in inv_freq's dtype.
// `factor` multiplies both (a scheme's attention factor). positions: i32 [tokens]. inv_freq may be [2, rotated
// dimensions / 2], with a row for each length: the second is taken if any position is `long_from` or more, by the
// device itself, without the host.
struct RopeTable {
  Tensor cos, sin;
};
RopeTable MakeRopeTable(const Tensor& positions, const Tensor& inv_freq, double factor = 1,
                        int64_t long_from = INT64_MAX);

// x [tokens, heads, head_dim], f64, f32, bf16 or f16, any strides. The result is fresh; the InPlace form overwrites x.
Tensor Rope(const Tensor& x, const RopeTable& table, RopeLayout layout = RopeLayout::kSplitHalf);
void RopeInPlace(Tensor& x, const RopeTable& table, RopeLayout layout = RopeLayout::kSplitHalf);

// dx = dy rotated by the negative angles.
Tensor RopeGrad(const Tensor& dy, const RopeTable& table, RopeLayout layout = RopeLayout::kSplitHalf);

}  // namespace tensor
}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_OPS_ROPE_H_
