// TensorSource: named tensors that can be read one at a time, whatever file they are in.
//
//   absl::StatusOr<std::unique_ptr<TensorSource>> source = ...;       // safetensors, shards of it, or GGUF
//   absl::StatusOr<Tensor> w = (*source)->Read("model.norm.weight");
//
// Nothing is read before it is asked for, and nothing is kept: loading a model never holds more than the tensor at
// hand. Block-quantized types (GGUF's Q4_0 and its like) are decoded to f32. Shapes are PyTorch's, outermost first.
// Threads: const methods may run concurrently. Errors carry the file and the tensor's name: NotFound for a name that is
// not there (with the nearest ones), InvalidArgument for a type that has no Tensor form, DataLoss or Unavailable when
// the disk fails.
#ifndef LORIKEET_TENSOR_IO_TENSOR_SOURCE_H_
#define LORIKEET_TENSOR_IO_TENSOR_SOURCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct TensorInfo {
  std::string name;
  std::string stored_type;  // as the format spells it: "BF16", "Q4_1"
  Shape shape;
  int64_t bytes = 0;  // in the file
  int shard = 0;      // which of the source's files it is in
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // In the file's order.
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  // nullptr: no such tensor.
  virtual const TensorInfo* Find(absl::string_view name) const = 0;
  virtual absl::StatusOr<Tensor> Read(absl::string_view name) const = 0;
  // The file or directory, for messages.
  virtual const std::string& where() const = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_TENSOR_SOURCE_H_
