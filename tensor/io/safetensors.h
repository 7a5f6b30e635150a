// A safetensors file: named tensors (layout: safetensors_header.h). Several with an index: sharded_safetensors.h.
//
//   absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open("adapter_model.safetensors");
//   for (const TensorInfo& info : (*file)->tensors()) { absl::StatusOr<Tensor> w = (*file)->Read(info.name); ... }
//
// Open reads and checks the header alone. Read returns the dtype that is stored: F64, F32, BF16, F16, I32, I64 or U8;
// other types are listed, and reading them is InvalidArgument. Values are not looked at: NaN is a value. Names are
// arbitrary text: never a path, and printed through Quoted.
// Threads: const methods may run concurrently. Errors: as TensorSource; a file that breaks the format is
// InvalidArgument.
#ifndef LORIKEET_TENSOR_IO_SAFETENSORS_H_
#define LORIKEET_TENSOR_IO_SAFETENSORS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/io/file.h"
#include "tensor/io/safetensors_header.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

class SafetensorsFile : public TensorSource {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(std::unique_ptr<RandomAccessFile> file);

  const std::vector<TensorInfo>& tensors() const override { return header_.index.tensors(); }
  const TensorInfo* Find(absl::string_view name) const override { return header_.index.Find(name); }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override;
  const std::string& where() const override { return file_->path(); }

  // The header's __metadata__.
  const SafetensorsMetadata& metadata() const { return header_.metadata; }

 private:
  SafetensorsFile(std::unique_ptr<RandomAccessFile> file, uint64_t data_start, SafetensorsHeader header)
      : file_(std::move(file)), data_start_(data_start), header_(std::move(header)) {}
  absl::Status ReadBytes(const TensorInfo& info, void* out) const;

  std::unique_ptr<RandomAccessFile> file_;
  uint64_t data_start_;
  SafetensorsHeader header_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_SAFETENSORS_H_
