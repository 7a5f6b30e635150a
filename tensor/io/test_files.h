// Files in memory, for tests of readers: plain bytes, and the pieces of safetensors and GGUF files.
//
//   const char* header = R"({"w": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}})";
//   auto file = SafetensorsFile::Open(InMemory(Safetensors(header, 2)));
//   auto gguf = GgufFile::Open(InMemory(GgufBytes().Value("a", GgufType::kU8, Le<uint8_t>(1)).Build()));
#ifndef LORIKEET_TENSOR_IO_TEST_FILES_H_
#define LORIKEET_TENSOR_IO_TEST_FILES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tensor/io/file.h"
#include "tensor/io/gguf_metadata.h"

namespace lorikeet {

class MemoryFile : public RandomAccessFile {
 public:
  explicit MemoryFile(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::Status Read(uint64_t offset, void* out, size_t bytes) const override {
    if (offset > bytes_.size() || bytes > bytes_.size() - offset) return absl::DataLossError("past the end of memory");
    std::copy_n(bytes_.data() + offset, bytes, static_cast<char*>(out));
    return absl::OkStatus();
  }
  uint64_t size() const override { return bytes_.size(); }
  const std::string& path() const override { return path_; }

 private:
  std::string bytes_, path_ = "memory";
};

inline std::unique_ptr<RandomAccessFile> InMemory(std::string bytes) {
  return std::make_unique<MemoryFile>(std::move(bytes));
}

// Little-endian bytes of a number.
template <typename T>
std::string Le(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(&out[0], &value, sizeof(T));
  return out;
}

// A safetensors file with this header and `data_bytes` bytes 0, 1, 2, ...
inline std::string Safetensors(const std::string& json, size_t data_bytes) {
  std::string out = Le<uint64_t>(json.size()) + json;
  for (size_t i = 0; i < data_bytes; ++i) out.push_back(static_cast<char>(i));
  return out;
}

// A GGUF file, piece by piece; counts follow from the pieces unless they are set.
class GgufBytes {
 public:
  static std::string Text(const std::string& text) { return Le<uint64_t>(text.size()) + text; }

  GgufBytes& Value(const std::string& key, GgufType type, const std::string& encoded) {
    values_ += Text(key) + Le(static_cast<uint32_t>(type)) + encoded;
    ++num_values;
    return *this;
  }
  GgufBytes& String(const std::string& key, const std::string& text) {
    return Value(key, GgufType::kString, Text(text));
  }
  GgufBytes& U32(const std::string& key, uint32_t value) { return Value(key, GgufType::kU32, Le(value)); }
  GgufBytes& Array(const std::string& key, GgufType type, uint64_t count, const std::string& elements) {
    return Value(key, GgufType::kArray, Le(static_cast<uint32_t>(type)) + Le(count) + elements);
  }
  GgufBytes& Strings(const std::string& key, const std::vector<std::string>& strings) {
    std::string elements;
    for (const std::string& s : strings) elements += Text(s);
    return Array(key, GgufType::kString, strings.size(), elements);
  }
  // dims[0] varies fastest.
  GgufBytes& Tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t format, uint64_t offset) {
    tensors_ += Text(name) + Le(static_cast<uint32_t>(dims.size()));
    for (uint64_t d : dims) tensors_ += Le(d);
    tensors_ += Le(format) + Le(offset);
    ++num_tensors;
    return *this;
  }
  GgufBytes& Data(size_t bytes) {
    data_bytes_ = bytes;
    return *this;
  }

  std::string Header() const { return magic + Le(version) + Le(num_tensors) + Le(num_values) + values_ + tensors_; }
  std::string Build(uint64_t alignment = 32) const {
    std::string out = Header();
    out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
    for (size_t i = 0; i < data_bytes_; ++i) out.push_back(static_cast<char>(i));
    return out;
  }

  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t num_tensors = 0, num_values = 0;

 private:
  std::string values_, tensors_;
  size_t data_bytes_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_TEST_FILES_H_
