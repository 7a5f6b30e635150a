// The header of a GGUF file, checked before anything believes it.
//
//   "GGUF" | u32 version (2 or 3) | u64 tensors | u64 values |
//   value:   string key | u32 type | scalar, or u32 element type, u64 count, elements            (as many as values)
//   tensor:  string name | u32 n_dims | u64 dims[n_dims] | u32 format | u64 offset               (as many as tensors)
//   zeros up to a multiple of general.alignment (32) | the tensors' bytes, each padded to that alignment
//
// A string is u64 length and bytes. dims[0] varies fastest; TensorInfo has the reverse, PyTorch's order. Offsets count
// from the end of the header's padding and must follow one another without holes.
// Limits: 256 MiB of header, keys and names of 1 to 65535 printable ASCII bytes, value strings of 16 MiB, 2^20 tensors
// of 1 to 4 dimensions that are not zero, no arrays of arrays; little-endian files in one piece.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
#ifndef LORIKEET_TENSOR_IO_GGUF_HEADER_H_
#define LORIKEET_TENSOR_IO_GGUF_HEADER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "tensor/io/file.h"
#include "tensor/io/gguf_blocks.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/io/tensor_index.h"

namespace lorikeet {

struct GgufHeader {
  uint32_t version = 0;
  GgufMetadata metadata;
  TensorIndex index;                       // in the order of their bytes
  std::vector<const GgufFormat*> formats;  // of each tensor
  std::vector<uint64_t> begins;            // of each tensor, from the start of the file
};

// InvalidArgument says what is wrong and where. All tensors lie inside the file.
absl::StatusOr<GgufHeader> ParseGgufHeader(const RandomAccessFile& file);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_GGUF_HEADER_H_
