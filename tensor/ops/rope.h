// Rotary position embedding (RoPE): each pair of elements of a head is rotated by an angle that grows with the token's
// position.
//
//   Tensor inv_freq = RopeFrequencies(/*theta=*/10000, /*head_dim=*/64);   // once per model
//   RopeTable table = MakeRopeTable(positions, inv_freq);                  // once per batch, for all layers and heads
//   Tensor q_rotated = Rope(q, table);                                     // q [tokens, heads, head_dim]
//   Tensor dq = RopeGrad(dq_rotated, table);
//
// Pair i of a head is elements i and i + head_dim/2 in the split-half layout (Hugging Face's checkpoints), 2i and
// 2i + 1 in the interleaved one (GPT-J; the rows of GGUF's llama files). A table for fewer dimensions than a head has
// rotates the first ones and leaves the rest (GPT-NeoX's and Phi's partial rotation).
// Errors: wrong shapes, dtypes or devices abort. Threads: any.
// Sources: Su et al., "RoFormer", 2021; linear scaling: Chen et al., "Extending context window of large language models
// via positional interpolation", 2023; llama3 scaling: Llama 3.1's rope_scaling, as transformers computes it.
#ifndef LORIKEET_TENSOR_OPS_ROPE_H_
#define LORIKEET_TENSOR_OPS_ROPE_H_

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

// How frequencies are stretched beyond the trained context; the names are config.json's rope_scaling.
struct RopeScaling {
  enum class Kind : uint8_t {
    kNone,
    kLinear,  // every frequency divided by factor
    kLlama3,  // long wavelengths divided by factor, short ones kept, a smooth passage between
  };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_freq_factor = 1;   // kLlama3: wavelengths above original_max_position / low_freq_factor are long,
  double high_freq_factor = 4;  // those below original_max_position / high_freq_factor short
  int64_t original_max_position = 8192;
};

namespace tensor {

enum class RopeLayout : uint8_t { kSplitHalf, kInterleaved };

// inv_freq [head_dim/2] = theta^(-2i/head_dim), scaled; f32 as models use it, f64 for gradient checks. head_dim is
// even.
Tensor RopeFrequencies(double theta, int64_t head_dim, const RopeScaling& scaling = {}, DType dtype = DType::kF32);

// Cosines and sines of a batch, [tokens, rotated dimensions / 2] each, on the positions' device, in inv_freq's dtype.
// `factor` multiplies both (a scheme's attention factor). positions: i32 [tokens].
struct RopeTable {
  Tensor cos, sin;
};
RopeTable MakeRopeTable(const Tensor& positions, const Tensor& inv_freq, double factor = 1);

// x [tokens, heads, head_dim], f64, f32, bf16 or f16, any strides. The result is fresh; the InPlace form overwrites x.
Tensor Rope(const Tensor& x, const RopeTable& table, RopeLayout layout = RopeLayout::kSplitHalf);
void RopeInPlace(Tensor& x, const RopeTable& table, RopeLayout layout = RopeLayout::kSplitHalf);

// dx = dy rotated by the negative angles.
Tensor RopeGrad(const Tensor& dy, const RopeTable& table, RopeLayout layout = RopeLayout::kSplitHalf);

}  // namespace tensor
}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_OPS_ROPE_H_
