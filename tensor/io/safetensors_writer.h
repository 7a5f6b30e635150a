// Writes safetensors files, byte for byte as the reference writer does (layout: safetensors_header.h), one tensor in
// memory at a time, replaced whole or not at all (atomic_file.h).
//
//   absl::Status status = WriteSafetensors("adapter_model.safetensors", {{"a.weight", a}, {"b.weight", b}},
//                                          {{"format", "pt"}});
//
//   absl::StatusOr<std::unique_ptr<SafetensorsWriter>> writer =
//       SafetensorsWriter::Create("model.safetensors", {{"w", DType::kBF16, {4, 8}}, ...}, {{"format", "pt"}});
//   for (const SafetensorsSpec& spec : (*writer)->order()) status = (*writer)->Write(spec.name, Make(spec.name));
//   status = (*writer)->Finish();
//
// The order is the file's, not the caller's: wider dtypes first (I64, F64, F32, I32, BF16, F16, U8), then by name.
// Without Finish nothing is written. Errors: InvalidArgument for names or metadata that a reader would refuse (a name
// twice, ill-formed UTF-8, a header above 100 MB), else AtomicFile's. Writing another tensor than order() says aborts.
// Threads: one at a time. Source: serialize_to_file in https://github.com/huggingface/safetensors.
#ifndef LORIKEET_TENSOR_IO_SAFETENSORS_WRITER_H_
#define LORIKEET_TENSOR_IO_SAFETENSORS_WRITER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/dtype.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file_system.h"
#include "tensor/io/safetensors_header.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct SafetensorsSpec {
  std::string name;
  DType dtype;
  Shape shape;
};

class SafetensorsWriter {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(const std::string& path,
                                                                   std::vector<SafetensorsSpec> specs,
                                                                   const SafetensorsMetadata& metadata,
                                                                   FileSystem& file_system = FileSystem::Real());

  const std::vector<SafetensorsSpec>& order() const { return specs_; }
  // The next tensor of order(), on any device.
  absl::Status Write(absl::string_view name, const Tensor& tensor);
  absl::Status Finish();

 private:
  SafetensorsWriter(std::unique_ptr<AtomicFile> file, std::vector<SafetensorsSpec> specs)
      : file_(std::move(file)), specs_(std::move(specs)) {}

  std::unique_ptr<AtomicFile> file_;
  std::vector<SafetensorsSpec> specs_;
  size_t next_ = 0;
};

absl::Status WriteSafetensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                              const SafetensorsMetadata& metadata, FileSystem& file_system = FileSystem::Real());

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_SAFETENSORS_WRITER_H_
