// A model in several safetensors files with an index, as Hugging Face directories have it; read as if it were one.
//
//   model.safetensors.index.json    {"metadata": {...}, "weight_map": {"TENSOR": "model-00001-of-00002.safetensors",
//   ...}}
//
//   absl::StatusOr<std::unique_ptr<TensorSource>> model = OpenSafetensorsDirectory("Llama-3.2-3B");
//
// The index is not trusted: a shard must be a plain file name, of a regular file in the same directory (no link is
// followed but those of the Hugging Face cache, tensor/io/file.h); every tensor that the index names must be in exactly
// that shard, and no tensor in two shards. Tensors that the index leaves out are not part of the model; unlisted()
// names them. Threads and errors: as TensorSource.
#ifndef LORIKEET_TENSOR_IO_SHARDED_SAFETENSORS_H_
#define LORIKEET_TENSOR_IO_SHARDED_SAFETENSORS_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/tensor_index.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

class ShardedSafetensors : public TensorSource {
 public:
  static absl::StatusOr<std::unique_ptr<ShardedSafetensors>> Open(const std::string& directory);

  const std::vector<TensorInfo>& tensors() const override { return index_.tensors(); }
  const TensorInfo* Find(absl::string_view name) const override { return index_.Find(name); }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override;
  const std::string& where() const override { return directory_; }

  const std::vector<std::string>& unlisted() const { return unlisted_; }

 private:
  // `names` are those that the index places in `shard`; `everything` holds the tensors of all shards so far.
  absl::Status AddShard(std::unique_ptr<SafetensorsFile> shard, const std::vector<std::string>& names,
                        TensorIndex* everything);
  explicit ShardedSafetensors(std::string directory) : directory_(std::move(directory)) {}

  std::string directory_;
  std::vector<std::unique_ptr<SafetensorsFile>> shards_;
  TensorIndex index_;
  std::vector<size_t> shard_of_;  // beside index_.tensors()
  std::vector<std::string> unlisted_;
};

// model.safetensors.index.json if the directory has one, else model.safetensors; NotFound names both.
absl::StatusOr<std::unique_ptr<TensorSource>> OpenSafetensorsDirectory(const std::string& directory);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_SHARDED_SAFETENSORS_H_
