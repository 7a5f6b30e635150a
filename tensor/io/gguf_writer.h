// Writes GGUF files (layout: gguf_header.h), one tensor in memory at a time, replaced whole or not at all
// (atomic_file.h).
//
//   GgufValues values;
//   values.String("general.architecture", "llama");
//   values.U32("llama.block_count", 30);
//   absl::StatusOr<std::unique_ptr<GgufWriter>> writer =
//       GgufWriter::Create("model.gguf", values, {{"token_embd.weight", FindGgufFormat("Q8_0"), {49152, 576}}, ...});
//   for (const GgufSpec& spec : (*writer)->order()) status = (*writer)->Write(spec.name, Make(spec.name));
//   status = (*writer)->Finish();
//
// Version 3, alignment 32, the caller's order of values and tensors. A tensor may come in any floating-point dtype and
// is encoded in its spec's format (gguf_blocks.h says how), a few megabytes at a time on all threads; shapes are
// PyTorch's, outermost first. Without Finish nothing is written. Errors: InvalidArgument for a header that a reader
// would refuse (a key or name twice, rows that are not whole blocks, what gguf_semantics.h checks) and for values that
// a format cannot hold (NaN, infinity, beyond a half's range), else AtomicFile's. Writing another tensor than order()
// says aborts. Threads: one at a time. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
#ifndef LORIKEET_TENSOR_IO_GGUF_WRITER_H_
#define LORIKEET_TENSOR_IO_GGUF_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file_system.h"
#include "tensor/io/gguf_blocks.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

// Key-value pairs in the order in which they are written.
class GgufValues {
 public:
  void U32(absl::string_view key, uint32_t value);
  void F32(absl::string_view key, float value);
  void Bool(absl::string_view key, bool value);
  void String(absl::string_view key, absl::string_view value);
  void I32s(absl::string_view key, const std::vector<int32_t>& values);
  void F32s(absl::string_view key, const std::vector<float>& values);
  void Strings(absl::string_view key, std::vector<std::string> values);

  const std::vector<std::pair<std::string, GgufValue>>& pairs() const { return pairs_; }

 private:
  std::vector<std::pair<std::string, GgufValue>> pairs_;
};

struct GgufSpec {
  std::string name;
  const GgufFormat* format;  // one that can be encoded
  Shape shape;
};

class GgufWriter {
 public:
  static absl::StatusOr<std::unique_ptr<GgufWriter>> Create(const std::string& path, const GgufValues& values,
                                                            std::vector<GgufSpec> specs,
                                                            FileSystem& file_system = FileSystem::Real());

  const std::vector<GgufSpec>& order() const { return specs_; }
  // The next tensor of order(), on any device.
  absl::Status Write(absl::string_view name, const Tensor& tensor);
  absl::Status Finish();

  // The file before it has its name: what is to be proven of it can be read there after the last Write.
  const std::string& unfinished_path() const { return file_->temporary(); }

 private:
  GgufWriter(std::unique_ptr<AtomicFile> file, std::vector<GgufSpec> specs)
      : file_(std::move(file)), specs_(std::move(specs)) {}

  std::unique_ptr<AtomicFile> file_;
  std::vector<GgufSpec> specs_;
  size_t next_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_GGUF_WRITER_H_
