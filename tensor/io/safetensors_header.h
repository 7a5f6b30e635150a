// The header of a safetensors file, checked before anything believes it.
//
//   offset  size
//   0       8     N, little-endian: bytes of the header, at most 100,000,000
//   8       N     JSON: {"NAME": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin,end]}, ...,
//                        "__metadata__": {"KEY": "TEXT", ...}}, surrounded by white space at most
//   8+N     rest  the tensors' bytes, row-major, little-endian; data_offsets count from here
//
// The tensors must cover the rest exactly, without holes, overlaps or a tail. Stricter than the Rust reference reader:
// a name or key that occurs twice, an unknown field, null for metadata and sizes that overflow even beside a zero
// dimension are refused; at most 2^20 tensors, names of at most 64 KiB, kMaxRank dimensions.
// Source: https://github.com/huggingface/safetensors (README, safetensors/src/tensor.rs).
#ifndef LORIKEET_TENSOR_IO_SAFETENSORS_HEADER_H_
#define LORIKEET_TENSOR_IO_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/dtype.h"
#include "tensor/io/tensor_index.h"

namespace lorikeet {

using SafetensorsMetadata = std::map<std::string, std::string>;

struct SafetensorsHeader {
  TensorIndex index;             // in the order of their bytes
  std::vector<uint64_t> begins;  // of each tensor, from the start of the data
  SafetensorsMetadata metadata;
};

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

// `json` is the header, `data_bytes` what follows it in the file. InvalidArgument names the tensor and the fault.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json, uint64_t data_bytes);

// Bits of one element of a stored type ("BF16"); 0: no such type.
int SafetensorsBits(absl::string_view stored_type);

// The names of the dtypes that a Tensor can have. False: `stored_type` is none of them.
const char* SafetensorsName(DType dtype);
bool SafetensorsDType(absl::string_view stored_type, DType* dtype);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_SAFETENSORS_HEADER_H_
