#include "tensor/io/gguf_header.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensor/io/byte_reader.h"
#include "tensor/io/checked_size.h"
#include "tensor/io/gguf_semantics.h"

namespace lorikeet {
namespace {

constexpr uint64_t kMaxHeaderBytes = uint64_t{256} << 20, kMaxNameBytes = 65535, kMaxStringBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxTensors = uint64_t{1} << 20;
// The smallest encodings: of a one-byte key with a one-byte value, and of a tensor with a one-byte name.
constexpr uint64_t kMinValueBytes = 14, kMinTensorBytes = 25;
constexpr uint32_t kMaxDims = 4;

std::string GetName(ByteReader* reader, absl::string_view what) {
  std::string name = reader->GetString(kMaxNameBytes, what);
  if (name.empty()) reader->Fail(absl::StrCat("empty ", what));
  for (char c : name) {
    if (c < 0x20 || c > 0x7e) reader->Fail(absl::StrCat(what, " ", Quoted(name), " is not printable ASCII"));
  }
  return name;
}

GgufType GetType(ByteReader* reader, absl::string_view key) {
  const uint32_t type = reader->Get<uint32_t>();
  if (type > static_cast<uint32_t>(GgufType::kF64)) {
    reader->Fail(absl::StrCat("value ", Quoted(key), " has unknown type ", type));
  }
  return static_cast<GgufType>(type);
}

GgufValue GetValue(ByteReader* reader, absl::string_view key) {
  GgufValue value;
  value.type = GetType(reader, key);
  if (value.type == GgufType::kArray) {
    value.is_array = true;
    value.type = GetType(reader, key);
    value.count = reader->Get<uint64_t>();
    if (value.type == GgufType::kArray) reader->Fail(absl::StrCat("value ", Quoted(key), " is an array of arrays"));
  }
  if (value.type == GgufType::kString) {
    if (value.count > reader->remaining() / sizeof(uint64_t)) reader->Fail("an array of strings is cut short");
    for (uint64_t i = 0; reader->ok() && i < value.count; ++i) {
      value.strings.push_back(reader->GetString(kMaxStringBytes, "string"));
    }
    return value;
  }
  const uint64_t size = SizeOf(value.type);
  if (reader->ok() && value.count > reader->remaining() / size) reader->Fail("a value is cut short");
  if (!reader->ok()) return value;
  value.bytes.resize(value.count * size);
  reader->GetBytes(&value.bytes[0], value.bytes.size());
  if (value.type == GgufType::kBool &&
      std::any_of(value.bytes.begin(), value.bytes.end(), [](char c) { return c != 0 && c != 1; })) {
    reader->Fail(absl::StrCat("value ", Quoted(key), " has a bool that is neither 0 nor 1"));
  }
  return value;
}

void GetValues(ByteReader* reader, uint64_t count, GgufMetadata* metadata) {
  for (uint64_t i = 0; reader->ok() && i < count; ++i) {
    std::string key = GetName(reader, "key");
    if (!reader->ok()) return;
    if (metadata->Has(key)) reader->Fail(absl::StrCat("key ", Quoted(key), " occurs twice"));
    GgufValue value = GetValue(reader, key);
    metadata->Add(std::move(key), std::move(value));
  }
}

// Name, shape, format and size of one tensor; *offset is as the file says.
TensorInfo GetTensor(ByteReader* reader, const GgufFormat** format, uint64_t* offset) {
  TensorInfo info;
  info.name = GetName(reader, "tensor name");
  const auto fail = [&](absl::string_view what) {
    reader->Fail(absl::StrCat("tensor ", Quoted(info.name), ": ", what));
    return info;
  };
  const uint32_t n_dims = reader->Get<uint32_t>();
  if (n_dims < 1 || n_dims > kMaxDims) return fail(absl::StrCat(n_dims, " dimensions, 1 to 4 are allowed"));
  uint64_t dims[kMaxDims] = {1, 1, 1, 1}, elements = 1;
  for (uint32_t i = 0; i < n_dims; ++i) {
    dims[i] = reader->Get<uint64_t>();
    if (!reader->ok()) return info;
    if (dims[i] == 0) return fail("a dimension is 0");
    if (!CheckedMul(elements, dims[i], &elements) || elements > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return fail("its size overflows");
    }
  }
  for (uint32_t i = n_dims; i > 0; --i) info.shape.push_back(static_cast<int64_t>(dims[i - 1]));
  const uint32_t id = reader->Get<uint32_t>();
  *offset = reader->Get<uint64_t>();
  if (!reader->ok()) return info;
  *format = FindGgufFormat(id);
  if (*format == nullptr) return fail(absl::StrCat("unknown format ", id));
  info.stored_type = (*format)->name;
  if (dims[0] % static_cast<uint64_t>((*format)->block) != 0) {
    return fail(absl::StrCat("rows of ", dims[0], " are not whole blocks of ", (*format)->name));
  }
  uint64_t bytes;
  if (!CheckedMul(elements / static_cast<uint64_t>((*format)->block), static_cast<uint64_t>((*format)->bytes),
                  &bytes) ||
      bytes > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return fail("its size overflows");
  }
  info.bytes = static_cast<int64_t>(bytes);
  return info;
}

// Appends `count` tensors. header->begins counts from the start of the data; returns where the last one's padding ends.
uint64_t GetTensors(ByteReader* reader, uint64_t count, uint64_t alignment, GgufHeader* header) {
  uint64_t expected = 0;
  for (uint64_t i = 0; reader->ok() && i < count; ++i) {
    const GgufFormat* format = nullptr;
    uint64_t offset = 0;
    TensorInfo info = GetTensor(reader, &format, &offset);
    if (!reader->ok()) break;
    const auto fail = [&](absl::string_view what) {
      reader->Fail(absl::StrCat("tensor ", Quoted(info.name), ": ", what));
    };
    if (offset % alignment != 0) fail(absl::StrCat("its offset ", offset, " is not a multiple of ", alignment));
    if (offset != expected) fail(absl::StrCat("its offset is ", offset, ", expected ", expected));
    if (!CheckedAdd(offset, static_cast<uint64_t>(info.bytes), &expected) ||
        !CheckedAlignUp(expected, alignment, &expected)) {
      fail("its end overflows");
    }
    const std::string name = info.name;
    if (!header->index.Add(std::move(info))) reader->Fail(absl::StrCat("tensor ", Quoted(name), " occurs twice"));
    header->formats.push_back(format);
    header->begins.push_back(offset);
  }
  return expected;
}

uint64_t GetAlignment(const GgufMetadata& metadata, ByteReader* reader) {
  const GgufValue* value = metadata.Find("general.alignment");
  if (value == nullptr) return 32;
  const absl::StatusOr<int64_t> alignment = metadata.Int("general.alignment");
  const bool valid = value->type == GgufType::kU32 && alignment.ok() && *alignment >= 8 && *alignment <= 65536 &&
                     (*alignment & (*alignment - 1)) == 0;
  if (!valid) reader->Fail("general.alignment is not a power of two of type u32 from 8 to 65536");
  return valid ? static_cast<uint64_t>(*alignment) : 32;
}

void CheckMagic(ByteReader* reader, GgufHeader* header) {
  char magic[4];
  reader->GetBytes(magic, sizeof(magic));
  if (absl::string_view(magic, sizeof(magic)) != "GGUF") reader->Fail("it does not begin with GGUF");
  header->version = reader->Get<uint32_t>();
  if (header->version != 0 && (header->version & 0xffff) == 0) reader->Fail("big-endian files cannot be read");
  if (header->version != 2 && header->version != 3) {
    reader->Fail(absl::StrCat("version ", header->version, ", only 2 and 3 can be read"));
  }
}

// Puts the tensors where the data starts, and compares the end with the file's.
void PlaceTensors(ByteReader* reader, uint64_t alignment, uint64_t data_bytes, uint64_t file_bytes,
                  GgufHeader* header) {
  uint64_t data_start = 0, padded_end = 0;
  if (!CheckedAlignUp(reader->position(), alignment, &data_start) || !CheckedAdd(data_start, data_bytes, &padded_end)) {
    return reader->Fail("the tensors' end overflows");
  }
  for (uint64_t& begin : header->begins) begin += data_start;
  // Padding after the last byte of all may be left out.
  const uint64_t end = header->begins.empty()
                           ? reader->position()
                           : header->begins.back() + static_cast<uint64_t>(header->index.tensors().back().bytes);
  if (file_bytes < end) {
    reader->Fail(absl::StrCat("the tensors end at byte ", end, " but the file at ", file_bytes,
                              ": it is cut short, fetch it again"));
  }
  if (file_bytes > padded_end) reader->Fail(absl::StrCat(file_bytes - padded_end, " bytes follow the last tensor"));
}

}  // namespace

absl::StatusOr<GgufHeader> ParseGgufHeader(const RandomAccessFile& file) {
  ByteReader reader(file, std::min(file.size(), kMaxHeaderBytes));
  GgufHeader header;
  CheckMagic(&reader, &header);
  const uint64_t tensors = reader.Get<uint64_t>(), values = reader.Get<uint64_t>();
  if (values > reader.remaining() / kMinValueBytes) reader.Fail(absl::StrCat(values, " values do not fit in the file"));
  GetValues(&reader, values, &header.metadata);
  if (tensors > std::min(kMaxTensors, reader.remaining() / kMinTensorBytes)) {
    reader.Fail(absl::StrCat(tensors, " tensors do not fit in the file"));
  }
  const uint64_t alignment = GetAlignment(header.metadata, &reader);
  const uint64_t data_bytes = GetTensors(&reader, tensors, alignment, &header);
  if (reader.ok()) PlaceTensors(&reader, alignment, data_bytes, file.size(), &header);
  if (!reader.ok()) return reader.status();
  absl::Status status = CheckGgufSemantics(header.metadata, header.index);
  if (!status.ok()) return status;
  return header;
}

}  // namespace lorikeet
