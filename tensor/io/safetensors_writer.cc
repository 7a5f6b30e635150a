#include "tensor/io/safetensors_writer.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tensor/check.h"
#include "tensor/device.h"

namespace lorikeet {
namespace {

// Place in the reference's list of dtypes, from the back.
int Rank(DType dtype) {
  constexpr DType kOrder[] = {DType::kI64,  DType::kF64, DType::kF32, DType::kI32,
                              DType::kBF16, DType::kF16, DType::kU8};
  return static_cast<int>(std::find(std::begin(kOrder), std::end(kOrder), dtype) - std::begin(kOrder));
}

uint64_t Bytes(const SafetensorsSpec& spec) { return static_cast<uint64_t>(spec.shape.size()) * SizeOf(spec.dtype); }

// Escapes what JSON must have escaped, as the reference does; bytes above ASCII stay, well-formed or not.
void AppendString(std::string* out, absl::string_view text) {
  static constexpr char kShort[] = "\"\\\b\f\n\r\t", kLetters[] = "\"\\bfnrt";
  out->push_back('"');
  for (char c : text) {
    const size_t i = c == '\0' ? absl::string_view::npos : absl::string_view(kShort).find(c);
    if (i != absl::string_view::npos) {
      out->append({'\\', kLetters[i]});
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

std::string HeaderJson(const std::vector<SafetensorsSpec>& specs, const SafetensorsMetadata& metadata) {
  std::string json = "{";
  const auto key = [&](absl::string_view text) {
    if (json.back() != '{') json.push_back(',');
    AppendString(&json, text);
    json.push_back(':');
  };
  if (!metadata.empty()) {
    key("__metadata__");
    json.push_back('{');
    for (const auto& [name, text] : metadata) {
      key(name);
      AppendString(&json, text);
    }
    json.push_back('}');
  }
  uint64_t offset = 0;
  for (const SafetensorsSpec& spec : specs) {
    key(spec.name);
    const uint64_t end = offset + Bytes(spec);
    absl::StrAppend(&json, "{\"dtype\":\"", SafetensorsName(spec.dtype), "\",\"shape\":", ToString(spec.shape),
                    ",\"data_offsets\":[", offset, ",", end, "]}");
    offset = end;
  }
  json.push_back('}');
  json.resize((json.size() + 7) / 8 * 8, ' ');  // the tensors begin aligned
  return json;
}

absl::string_view AsBytes(const void* p, size_t bytes) { return {static_cast<const char*>(p), bytes}; }

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(const std::string& path,
                                                                             std::vector<SafetensorsSpec> specs,
                                                                             const SafetensorsMetadata& metadata,
                                                                             FileSystem& file_system) {
  std::sort(specs.begin(), specs.end(), [](const SafetensorsSpec& a, const SafetensorsSpec& b) {
    return std::make_pair(Rank(a.dtype), absl::string_view(a.name)) <
           std::make_pair(Rank(b.dtype), absl::string_view(b.name));
  });
  uint64_t data_bytes = 0;
  for (const SafetensorsSpec& spec : specs) data_bytes += Bytes(spec);
  const std::string json = HeaderJson(specs, metadata);
  // What is written must be readable: the reader's own rules are the check.
  absl::Status status = ParseSafetensorsHeader(json, data_bytes).status();
  if (status.ok() && json.size() > kMaxSafetensorsHeader)
    status = absl::InvalidArgumentError("the header is too large");
  if (!status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot write ", path, " as safetensors: ", status.message()));
  }
  const uint64_t header_bytes = json.size();
  absl::StatusOr<std::unique_ptr<AtomicFile>> file =
      AtomicFile::Create(path, sizeof(header_bytes) + header_bytes + data_bytes, file_system);
  if (!file.ok()) return file.status();
  status = (*file)->Append(absl::StrCat(AsBytes(&header_bytes, sizeof(header_bytes)), json));
  if (!status.ok()) return status;
  return std::unique_ptr<SafetensorsWriter>(new SafetensorsWriter(*std::move(file), std::move(specs)));
}

absl::Status SafetensorsWriter::Write(absl::string_view name, const Tensor& tensor) {
  LORIKEET_CHECK(next_ < specs_.size()) << "SafetensorsWriter: " << std::string(name) << " after the last tensor";
  const SafetensorsSpec& spec = specs_[next_++];
  LORIKEET_CHECK(name == spec.name && tensor.dtype() == spec.dtype && tensor.shape() == spec.shape)
      << "SafetensorsWriter: " << std::string(name) << " is " << Describe(tensor) << ", expected " << spec.name << " "
      << Name(spec.dtype) << ToString(spec.shape);
  const Tensor plain = tensor.To(kCpu).Contiguous();
  return file_->Append(AsBytes(plain.raw(), static_cast<size_t>(plain.nbytes())));
}

absl::Status SafetensorsWriter::Finish() {
  LORIKEET_CHECK_EQ(next_, specs_.size()) << "SafetensorsWriter: tensors are missing";
  return file_->Commit();
}

absl::Status WriteSafetensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                              const SafetensorsMetadata& metadata, FileSystem& file_system) {
  std::vector<SafetensorsSpec> specs;
  std::map<absl::string_view, const Tensor*> by_name;
  for (const auto& [name, tensor] : tensors) {
    specs.push_back({name, tensor.dtype(), tensor.shape()});
    by_name[name] = &tensor;
  }
  absl::StatusOr<std::unique_ptr<SafetensorsWriter>> writer =
      SafetensorsWriter::Create(path, std::move(specs), metadata, file_system);
  if (!writer.ok()) return writer.status();
  for (const SafetensorsSpec& spec : (*writer)->order()) {
    absl::Status status = (*writer)->Write(spec.name, *by_name.at(spec.name));
    if (!status.ok()) return status;
  }
  return (*writer)->Finish();
}

}  // namespace lorikeet
