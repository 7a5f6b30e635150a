#include "tensor/io/gguf_writer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/io/file.h"
#include "tensor/io/gguf_header.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

constexpr uint64_t kAlignment = 32;
constexpr uint32_t kVersion = 3;

template <typename T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void PutText(absl::string_view text, std::string* out) {
  Put<uint64_t>(text.size(), out);
  out->append(text.data(), text.size());
}

uint64_t Padded(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t Bytes(const GgufSpec& spec) {
  return static_cast<uint64_t>(spec.shape.size() / spec.format->block * spec.format->bytes);
}

void PutValue(const GgufValue& value, std::string* out) {
  if (value.is_array) {
    Put(GgufType::kArray, out);
    Put(value.type, out);
    Put(value.count, out);
  } else {
    Put(value.type, out);
  }
  for (const std::string& s : value.strings) PutText(s, out);
  out->append(value.bytes);
}

std::string Header(const GgufValues& values, const std::vector<GgufSpec>& specs) {
  std::string out = "GGUF";
  Put(kVersion, &out);
  Put<uint64_t>(specs.size(), &out);
  Put<uint64_t>(values.pairs().size(), &out);
  for (const auto& [key, value] : values.pairs()) {
    PutText(key, &out);
    PutValue(value, &out);
  }
  uint64_t offset = 0;
  for (const GgufSpec& spec : specs) {
    PutText(spec.name, &out);
    Put<uint32_t>(static_cast<uint32_t>(spec.shape.rank()), &out);
    for (int i = spec.shape.rank() - 1; i >= 0; --i) Put<uint64_t>(static_cast<uint64_t>(spec.shape[i]), &out);
    Put(spec.format->id, &out);
    Put(offset, &out);
    offset += Padded(Bytes(spec));
  }
  out.resize(Padded(out.size()), '\0');
  return out;
}

// The file that is about to be written, for the reader to judge: its header, and zeros for what is to come.
class Planned : public RandomAccessFile {
 public:
  Planned(const std::string& path, absl::string_view header, uint64_t size)
      : path_(path), header_(header), size_(size) {}
  absl::Status Read(uint64_t offset, void* out, size_t bytes) const override {
    const absl::string_view rest = header_.substr(std::min<uint64_t>(offset, header_.size()), bytes);
    std::fill_n(std::copy(rest.begin(), rest.end(), static_cast<char*>(out)), bytes - rest.size(), '\0');
    return absl::OkStatus();
  }
  uint64_t size() const override { return size_; }
  const std::string& path() const override { return path_; }

 private:
  const std::string& path_;
  absl::string_view header_;
  uint64_t size_;
};

GgufValue Number(GgufType type, const void* value, size_t bytes) {
  GgufValue v;
  v.type = type;
  v.bytes.assign(static_cast<const char*>(value), bytes);
  return v;
}

template <typename T>
GgufValue Numbers(GgufType type, const std::vector<T>& values) {
  GgufValue v = Number(type, values.data(), values.size() * sizeof(T));
  v.is_array = true;
  v.count = values.size();
  return v;
}

// Whether the format can express all of them. A half, as value or as scale, overflows long before f32 and bf16 do.
bool Fits(const GgufFormat& format, const float* x, int64_t n) {
  const absl::string_view name = format.name;
  const float most = name == "F32" || name == "BF16" ? std::numeric_limits<float>::max() : kMaxGgufHalf;
  return std::all_of(x, x + n, [&](float v) { return std::abs(v) <= most; });  // false for NaN
}

}  // namespace

void GgufValues::U32(absl::string_view key, uint32_t value) {
  pairs_.emplace_back(key, Number(GgufType::kU32, &value, sizeof(value)));
}

void GgufValues::F32(absl::string_view key, float value) {
  pairs_.emplace_back(key, Number(GgufType::kF32, &value, sizeof(value)));
}

void GgufValues::Bool(absl::string_view key, bool value) {
  const uint8_t byte = value ? 1 : 0;
  pairs_.emplace_back(key, Number(GgufType::kBool, &byte, sizeof(byte)));
}

void GgufValues::String(absl::string_view key, absl::string_view value) {
  GgufValue v;
  v.type = GgufType::kString;
  v.strings.emplace_back(value);
  pairs_.emplace_back(key, std::move(v));
}

void GgufValues::I32s(absl::string_view key, const std::vector<int32_t>& values) {
  pairs_.emplace_back(key, Numbers(GgufType::kI32, values));
}

void GgufValues::F32s(absl::string_view key, const std::vector<float>& values) {
  pairs_.emplace_back(key, Numbers(GgufType::kF32, values));
}

void GgufValues::Strings(absl::string_view key, std::vector<std::string> values) {
  GgufValue v;
  v.type = GgufType::kString;
  v.is_array = true;
  v.count = values.size();
  v.strings = std::move(values);
  pairs_.emplace_back(key, std::move(v));
}

absl::StatusOr<std::unique_ptr<GgufWriter>> GgufWriter::Create(const std::string& path, const GgufValues& values,
                                                               std::vector<GgufSpec> specs, FileSystem& file_system) {
  uint64_t data_bytes = 0;
  for (const GgufSpec& spec : specs) {
    LORIKEET_CHECK(spec.format != nullptr && spec.format->encode != nullptr)
        << "GgufWriter: " << spec.name << " is to have a format that cannot be encoded";
    data_bytes += Padded(Bytes(spec));
  }
  const std::string header = Header(values, specs);
  // What is written must be readable: the reader's own rules are the check.
  const absl::Status status = ParseGgufHeader(Planned(path, header, header.size() + data_bytes)).status();
  if (!status.ok())
    return absl::InvalidArgumentError(absl::StrCat("cannot write ", path, " as GGUF: ", status.message()));
  absl::StatusOr<std::unique_ptr<AtomicFile>> file = AtomicFile::Create(path, header.size() + data_bytes, file_system);
  if (!file.ok()) return file.status();
  if (absl::Status s = (*file)->Append(header); !s.ok()) return s;
  return std::unique_ptr<GgufWriter>(new GgufWriter(*std::move(file), std::move(specs)));
}

absl::Status GgufWriter::Write(absl::string_view name, const Tensor& tensor) {
  LORIKEET_CHECK(next_ < specs_.size()) << "GgufWriter: " << std::string(name) << " after the last tensor";
  const GgufSpec& spec = specs_[next_++];
  LORIKEET_CHECK(name == spec.name && tensor.shape() == spec.shape && IsFloat(tensor.dtype()))
      << "GgufWriter: " << std::string(name) << " is " << Describe(tensor) << ", expected " << spec.name << " "
      << ToString(spec.shape);
  const GgufFormat& format = *spec.format;
  const Tensor flat = tensor.To(kCpu).Contiguous().Reshape({-1});
  const int64_t blocks = flat.size() / format.block, grain = std::max<int64_t>(1, 16384 / format.block);
  const int64_t step = (int64_t{1} << 20) / format.block;
  std::string bytes;
  for (int64_t first = 0; first < blocks; first += step) {
    const int64_t n = std::min(step, blocks - first);
    const Tensor values = flat.Slice(0, first * format.block, (first + n) * format.block).Cast(DType::kF32);
    const float* x = values.data<float>().data();
    if (!Fits(format, x, n * format.block)) {
      return absl::InvalidArgumentError(
          absl::StrCat(spec.name, " holds NaN, infinity or a value that ", format.name,
                       " cannot express (a half ends at 65504); if the model is sound, write it in BF16 or F32"));
    }
    bytes.resize(static_cast<size_t>(n * format.bytes));
    ParallelFor(n, grain, [&](int64_t b, int64_t e) {
      EncodeGgufBlocks(format, x + b * format.block, e - b,
                       reinterpret_cast<uint8_t*>(bytes.data()) + b * format.bytes);
    });
    if (absl::Status s = file_->Append(bytes); !s.ok()) return s;
  }
  return file_->Append(std::string(Padded(Bytes(spec)) - Bytes(spec), '\0'));
}

absl::Status GgufWriter::Finish() {
  LORIKEET_CHECK_EQ(next_, specs_.size()) << "GgufWriter: tensors are missing";
  return file_->Commit();
}

}  // namespace lorikeet
