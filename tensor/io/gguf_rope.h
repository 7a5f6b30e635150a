// GGUF's order of query and key rows, undone and made.
//
// For the llama architecture llama.cpp's converter interleaves the two halves of every head, so that rotary embedding
// acts on neighbouring rows. With half = head_dim / 2, row h * head_dim + s * half + i of the original (s = 0, 1) is
// row h * head_dim + 2 i + s of the file. Biases are permuted like weights. Other architectures (qwen2) are left as
// they are.
//
//   Tensor q = UnpermuteRope(*(*file)->Read("blk.0.attn_q.weight"), /*heads=*/9);      // [heads * head_dim, in]
//   Tensor k = UnpermuteRope(*(*file)->Read("blk.0.attn_k.weight"), /*heads=*/3);      // the key-value heads
//   Tensor stored = PermuteRope(k, 3);                                                 // the other way
//
// Source: LlamaModel.permute in convert_hf_to_gguf.py of https://github.com/ggml-org/llama.cpp.
#ifndef LORIKEET_TENSOR_IO_GGUF_ROPE_H_
#define LORIKEET_TENSOR_IO_GGUF_ROPE_H_

#include <cstdint>

#include "tensor/tensor.h"

namespace lorikeet {

// w: [heads * head_dim] or [heads * head_dim, in], head_dim even; returns a fresh contiguous tensor.
Tensor UnpermuteRope(const Tensor& w, int64_t heads);
Tensor PermuteRope(const Tensor& w, int64_t heads);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_GGUF_ROPE_H_
