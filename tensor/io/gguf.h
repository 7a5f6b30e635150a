// A GGUF file, as llama.cpp writes it: named tensors in block formats (gguf_blocks.h), and the values that describe the
// model and its tokenizer (gguf_metadata.h). Layout and limits: gguf_header.h.
//
//   absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open("smollm2-135m.gguf");
//   absl::StatusOr<int64_t> layers = (*file)->metadata().Int("llama.block_count");
//   absl::StatusOr<Tensor> w = (*file)->Read("blk.0.attn_q.weight");                  // Q4_1 -> f32 [out, in]
//   absl::StatusOr<Tensor> h = (*file)->ReadAs("blk.0.attn_q.weight", DType::kBF16);  // without an f32 copy
//
// Names are llama.cpp's. For the llama architecture the rows of attn_q and attn_k are permuted; see gguf_rope.h.
// Read gives F32, F16, BF16, F64, I32 and I64 as they are and Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K as f32;
// other formats are listed, and reading them is InvalidArgument.
// Threads: const methods may run concurrently; decoding uses all threads of ParallelFor. Errors: as TensorSource; a
// file that breaks the format is InvalidArgument.
#ifndef LORIKEET_TENSOR_IO_GGUF_H_
#define LORIKEET_TENSOR_IO_GGUF_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/dtype.h"
#include "tensor/io/file.h"
#include "tensor/io/gguf_header.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

class GgufFile : public TensorSource {
 public:
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& path);
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(std::unique_ptr<RandomAccessFile> file);

  const std::vector<TensorInfo>& tensors() const override { return header_.index.tensors(); }
  const TensorInfo* Find(absl::string_view name) const override { return header_.index.Find(name); }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override;
  const std::string& where() const override { return file_->path(); }

  // A floating-point tensor as f32 or bf16.
  absl::StatusOr<Tensor> ReadAs(absl::string_view name, DType dtype) const;
  const GgufMetadata& metadata() const { return header_.metadata; }

 private:
  GgufFile(std::unique_ptr<RandomAccessFile> file, GgufHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}

  std::unique_ptr<RandomAccessFile> file_;
  GgufHeader header_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_GGUF_H_
