#include "tensor/io/safetensors.h"

#include <bit>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied as they lie in the file");

absl::Status Malformed(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, " is not a valid safetensors file: ", what));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenFile(path);
  if (!file.ok()) return file.status();
  return Open(*std::move(file));
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(std::unique_ptr<RandomAccessFile> file) {
  const std::string& path = file->path();
  uint64_t header_bytes = 0;
  if (file->size() < sizeof(header_bytes)) return Malformed(path, "it has less than 8 bytes");
  absl::Status status = file->Read(0, &header_bytes, sizeof(header_bytes));
  if (!status.ok()) return status;
  if (header_bytes > kMaxSafetensorsHeader) {
    return Malformed(path, absl::StrCat("its header would have ", header_bytes, " bytes"));
  }
  if (header_bytes > file->size() - sizeof(header_bytes)) {
    return Malformed(path, absl::StrCat("its header of ", header_bytes, " bytes is cut short"));
  }
  std::string json(header_bytes, '\0');
  status = file->Read(sizeof(header_bytes), &json[0], json.size());
  if (!status.ok()) return status;
  const uint64_t data_start = sizeof(header_bytes) + header_bytes;
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(json, file->size() - data_start);
  if (!header.ok()) return Malformed(path, header.status().message());
  return std::unique_ptr<SafetensorsFile>(new SafetensorsFile(std::move(file), data_start, *std::move(header)));
}

absl::Status SafetensorsFile::ReadBytes(const TensorInfo& info, void* out) const {
  const uint64_t begin = header_.begins[header_.index.PositionOf(&info)];
  return file_->Read(data_start_ + begin, out, static_cast<size_t>(info.bytes));
}

absl::StatusOr<Tensor> SafetensorsFile::Read(absl::string_view name) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr) return header_.index.NoSuchTensor(name, where());
  DType dtype;
  if (!SafetensorsDType(info->stored_type, &dtype)) {
    return absl::InvalidArgumentError(absl::StrCat(where(), ": tensor ", Quoted(name), " is ", info->stored_type,
                                                   ", which cannot be read; F64, F32, BF16, F16, I64, I32 and U8 can"));
  }
  Tensor out = Tensor::Empty(info->shape, dtype);
  absl::Status status = ReadBytes(*info, out.raw());
  if (!status.ok()) return status;
  return out;
}

}  // namespace lorikeet
