// What the values of a GGUF file must mean together, checked when it is opened, so that no later loop over layers,
// heads or tokens trusts a number that the rest of the file contradicts.
//
//   - tokenizer.ggml.tokens is an array of strings; scores (f32) and token_type (integers) have its length; a byte
//   token
//     (type 6) is exactly <0xNN>.
//   - ARCHITECTURE.block_count is 1 to 512 and larger than every N of a tensor blk.N.*; head counts, widths and the
//     context length are in range; head_count is a multiple of head_count_kv; token_embd.weight has embedding_length
//     columns and as many rows as there are tokens (where there are any).
//   - split.count is at most 1: a model in several files is refused.
//
// Values that are absent are not missed here. Errors: InvalidArgument with the key.
#ifndef LORIKEET_TENSOR_IO_GGUF_SEMANTICS_H_
#define LORIKEET_TENSOR_IO_GGUF_SEMANTICS_H_

#include "absl/status/status.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/io/tensor_index.h"

namespace lorikeet {

absl::Status CheckGgufSemantics(const GgufMetadata& metadata, const TensorIndex& index);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_GGUF_SEMANTICS_H_
