// TensorIndex: what a file holds, in order and by name. The part that every TensorSource shares.
//
//   TensorIndex index;
//   if (!index.Add({"w", "F32", {2, 3}, 24})) ...                // the name is taken
//   const TensorInfo* w = index.Find("w");                       // nullptr: no such tensor
//
// Pointers stay valid until the next Add. Threads: const methods may run concurrently.
#ifndef LORIKEET_TENSOR_IO_TENSOR_INDEX_H_
#define LORIKEET_TENSOR_IO_TENSOR_INDEX_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tensor/io/tensor_source.h"

namespace lorikeet {

class TensorIndex {
 public:
  // False, and nothing is added, if there is a tensor of that name.
  bool Add(TensorInfo info);
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* Find(absl::string_view name) const;
  // Place of one of this index's own entries in tensors().
  size_t PositionOf(const TensorInfo* info) const { return static_cast<size_t>(info - tensors_.data()); }

  // NotFound, with the nearest names.
  absl::Status NoSuchTensor(absl::string_view name, absl::string_view where) const;

 private:
  std::vector<TensorInfo> tensors_;
  absl::flat_hash_map<std::string, size_t> by_name_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_TENSOR_INDEX_H_
