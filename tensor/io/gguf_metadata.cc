#include "tensor/io/gguf_metadata.h"

#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

template <typename T>
T Load(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

bool DecodeInt(GgufType type, const char* p, int64_t* out) {
  switch (type) {
    case GgufType::kU8:
      return *out = Load<uint8_t>(p), true;
    case GgufType::kI8:
      return *out = Load<int8_t>(p), true;
    case GgufType::kU16:
      return *out = Load<uint16_t>(p), true;
    case GgufType::kI16:
      return *out = Load<int16_t>(p), true;
    case GgufType::kU32:
      return *out = Load<uint32_t>(p), true;
    case GgufType::kI32:
      return *out = Load<int32_t>(p), true;
    case GgufType::kI64:
      return *out = Load<int64_t>(p), true;
    case GgufType::kU64: {
      const uint64_t value = Load<uint64_t>(p);
      *out = static_cast<int64_t>(value);
      return value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    }
    default:
      return false;
  }
}

bool DecodeFloat(GgufType type, const char* p, double* out) {
  if (type == GgufType::kF32) return *out = Load<float>(p), true;
  if (type == GgufType::kF64) return *out = Load<double>(p), true;
  return false;
}

bool DecodeBool(GgufType type, const char* p, bool* out) {
  if (type != GgufType::kBool) return false;
  return *out = *p != 0, true;
}

absl::Status WrongType(absl::string_view key, const GgufValue& value, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("GGUF value ", Quoted(key), " is ",
                                                 value.is_array ? "an array of " : "", Name(value.type), ", expected ",
                                                 expected));
}

// Every element of a value that must be an array or must not be one.
template <typename T, typename Decode>
absl::StatusOr<std::vector<T>> Elements(const GgufMetadata& metadata, absl::string_view key, bool array,
                                        absl::string_view expected, Decode decode) {
  const GgufValue* value = metadata.Find(key);
  if (value == nullptr) return absl::NotFoundError(absl::StrCat("GGUF value ", Quoted(key), " is missing"));
  if (value->is_array != array || value->type == GgufType::kString) return WrongType(key, *value, expected);
  const size_t size = SizeOf(value->type);
  std::vector<T> out;
  out.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    T element{};
    if (!decode(value->type, value->bytes.data() + i * size, &element)) return WrongType(key, *value, expected);
    out.push_back(element);
  }
  return out;
}

template <typename T, typename Decode>
absl::StatusOr<T> Scalar(const GgufMetadata& metadata, absl::string_view key, absl::string_view expected,
                         Decode decode) {
  absl::StatusOr<std::vector<T>> elements = Elements<T>(metadata, key, /*array=*/false, expected, decode);
  if (!elements.ok()) return elements.status();
  return elements->front();
}

}  // namespace

const char* Name(GgufType type) {
  static constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};
  return type <= GgufType::kF64 ? kNames[static_cast<uint32_t>(type)] : "?";
}

size_t SizeOf(GgufType type) {
  static constexpr uint8_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type <= GgufType::kF64 ? kSizes[static_cast<uint32_t>(type)] : 0;
}

bool GgufMetadata::Add(std::string key, GgufValue value) {
  return values_.emplace(std::move(key), std::move(value)).second;
}

const GgufValue* GgufMetadata::Find(absl::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

absl::StatusOr<int64_t> GgufMetadata::Int(absl::string_view key) const {
  return Scalar<int64_t>(*this, key, "an integer of 64 bits at most", DecodeInt);
}

absl::StatusOr<double> GgufMetadata::Float(absl::string_view key) const {
  return Scalar<double>(*this, key, "f32 or f64", DecodeFloat);
}

absl::StatusOr<bool> GgufMetadata::Bool(absl::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return absl::NotFoundError(absl::StrCat("GGUF value ", Quoted(key), " is missing"));
  bool out = false;
  if (value->is_array || !DecodeBool(value->type, value->bytes.data(), &out)) return WrongType(key, *value, "bool");
  return out;
}

absl::StatusOr<std::string> GgufMetadata::String(absl::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return absl::NotFoundError(absl::StrCat("GGUF value ", Quoted(key), " is missing"));
  if (value->is_array || value->type != GgufType::kString) return WrongType(key, *value, "string");
  return value->strings.front();
}

absl::StatusOr<std::vector<int64_t>> GgufMetadata::Ints(absl::string_view key) const {
  return Elements<int64_t>(*this, key, /*array=*/true, "an array of integers", DecodeInt);
}

absl::StatusOr<std::vector<double>> GgufMetadata::Floats(absl::string_view key) const {
  return Elements<double>(*this, key, /*array=*/true, "an array of f32 or f64", DecodeFloat);
}

absl::StatusOr<std::vector<std::string>> GgufMetadata::Strings(absl::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return absl::NotFoundError(absl::StrCat("GGUF value ", Quoted(key), " is missing"));
  if (!value->is_array || value->type != GgufType::kString) return WrongType(key, *value, "an array of strings");
  return value->strings;
}

}  // namespace lorikeet
