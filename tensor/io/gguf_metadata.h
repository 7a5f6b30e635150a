// The key-value pairs of a GGUF file, typed: nothing is read as another type than the file says.
//
//   absl::StatusOr<int64_t> layers = metadata.Int("llama.block_count");
//   absl::StatusOr<std::vector<std::string>> tokens = metadata.Strings("tokenizer.ggml.tokens");
//   if (metadata.Has("rope_freqs.factor")) ...
//
// Errors: NotFound for a missing key, InvalidArgument (with the key and both types) for another type.
// Threads: const methods may run concurrently.
#ifndef LORIKEET_TENSOR_IO_GGUF_METADATA_H_
#define LORIKEET_TENSOR_IO_GGUF_METADATA_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lorikeet {

enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// "u8", "string"; "?" where there is no such type.
const char* Name(GgufType type);
// Bytes of a number or bool in the file; 0 for strings, arrays and unknown types.
size_t SizeOf(GgufType type);

// A scalar, or an array of scalars.
struct GgufValue {
  GgufType type = GgufType::kU8;  // of the scalar, or of the array's elements
  bool is_array = false;
  uint64_t count = 1;                // elements
  std::string bytes;                 // numbers and bools, as they lie in the file
  std::vector<std::string> strings;  // where type is kString
};

class GgufMetadata {
 public:
  // False, and nothing is added, if the key is there already.
  bool Add(std::string key, GgufValue value);
  bool Has(absl::string_view key) const { return Find(key) != nullptr; }
  const GgufValue* Find(absl::string_view key) const;

  // Any integer type that holds the value.
  absl::StatusOr<int64_t> Int(absl::string_view key) const;
  absl::StatusOr<double> Float(absl::string_view key) const;
  absl::StatusOr<bool> Bool(absl::string_view key) const;
  absl::StatusOr<std::string> String(absl::string_view key) const;
  absl::StatusOr<std::vector<int64_t>> Ints(absl::string_view key) const;
  absl::StatusOr<std::vector<double>> Floats(absl::string_view key) const;
  absl::StatusOr<std::vector<std::string>> Strings(absl::string_view key) const;

 private:
  absl::flat_hash_map<std::string, GgufValue> values_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_GGUF_METADATA_H_
