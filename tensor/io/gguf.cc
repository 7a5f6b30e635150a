#include "tensor/io/gguf.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensor/check.h"
#include "tensor/io/gguf_blocks.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied as they lie in the file");

// Formats that are a dtype already.
bool PlainDType(absl::string_view format, DType* dtype) {
  if (format == "F32") return *dtype = DType::kF32, true;
  if (format == "F16") return *dtype = DType::kF16, true;
  if (format == "BF16") return *dtype = DType::kBF16, true;
  if (format == "F64") return *dtype = DType::kF64, true;
  if (format == "I32") return *dtype = DType::kI32, true;
  if (format == "I64") return *dtype = DType::kI64, true;
  return false;
}

// Reads and decodes a few megabytes at a time, so that the packed bytes are never in memory whole.
template <typename T>
absl::Status DecodeAll(const RandomAccessFile& file, uint64_t begin, const GgufFormat& format, int64_t blocks, T* out) {
  const int64_t step = (int64_t{4} << 20) / format.bytes;
  const int64_t grain = std::max<int64_t>(1, 16384 / format.block);
  std::vector<uint8_t> packed(static_cast<size_t>(std::min(step, blocks) * format.bytes));
  for (int64_t first = 0; first < blocks; first += step) {
    const int64_t n = std::min(step, blocks - first);
    const uint64_t at = begin + static_cast<uint64_t>(first * format.bytes);
    absl::Status status = file.Read(at, packed.data(), static_cast<size_t>(n * format.bytes));
    if (!status.ok()) return status;
    ParallelFor(n, grain, [&](int64_t b, int64_t e) {
      DecodeGgufBlocks(format, packed.data() + b * format.bytes, e - b, out + (first + b) * format.block);
    });
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path) {
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenFile(path);
  if (!file.ok()) return file.status();
  return Open(*std::move(file));
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(std::unique_ptr<RandomAccessFile> file) {
  absl::StatusOr<GgufHeader> header = ParseGgufHeader(*file);
  if (header.ok()) return std::unique_ptr<GgufFile>(new GgufFile(std::move(file), *std::move(header)));
  if (!absl::IsInvalidArgument(header.status())) return header.status();
  return absl::InvalidArgumentError(
      absl::StrCat(file->path(), " is not a GGUF file that can be read: ", header.status().message()));
}

absl::StatusOr<Tensor> GgufFile::Read(absl::string_view name) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr) return header_.index.NoSuchTensor(name, where());
  DType dtype;
  if (!PlainDType(info->stored_type, &dtype)) return ReadAs(name, DType::kF32);
  Tensor out = Tensor::Empty(info->shape, dtype);
  absl::Status status =
      file_->Read(header_.begins[header_.index.PositionOf(info)], out.raw(), static_cast<size_t>(info->bytes));
  if (!status.ok()) return status;
  return out;
}

absl::StatusOr<Tensor> GgufFile::ReadAs(absl::string_view name, DType dtype) const {
  LORIKEET_CHECK(dtype == DType::kF32 || dtype == DType::kBF16) << "GgufFile::ReadAs: " << lorikeet::Name(dtype);
  const TensorInfo* info = Find(name);
  if (info == nullptr) return header_.index.NoSuchTensor(name, where());
  const size_t position = header_.index.PositionOf(info);
  const GgufFormat& format = *header_.formats[position];
  if (format.decode == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        where(), ": tensor ", Quoted(name), " is ", format.name,
        ", which cannot be decoded; use a file in Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, F16, BF16 or F32"));
  }
  Tensor out = Tensor::Empty(info->shape, dtype);
  const int64_t blocks = info->shape.size() / format.block;
  absl::Status status = dtype == DType::kF32
                            ? DecodeAll(*file_, header_.begins[position], format, blocks, out.data<float>().data())
                            : DecodeAll(*file_, header_.begins[position], format, blocks, out.data<bf16>().data());
  if (!status.ok()) return status;
  return out;
}

}  // namespace lorikeet
