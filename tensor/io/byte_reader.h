// ByteReader: little-endian values from a file, front to back. The first failure sticks, and every later read gives
// zeros, so a parser may read a few fields before it looks at ok().
//
//   ByteReader reader(file, file.size());
//   const uint32_t version = reader.Get<uint32_t>();
//   const std::string key = reader.GetString(/*max_bytes=*/65535, "key");
//   if (!reader.ok()) return reader.status();
//
// Nothing is allocated before it is known to be in the file. Threads: one at a time.
#ifndef LORIKEET_TENSOR_IO_BYTE_READER_H_
#define LORIKEET_TENSOR_IO_BYTE_READER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tensor/io/file.h"

namespace lorikeet {

class ByteReader {
 public:
  // Reads no byte at or after `end`, which is at most the file's size. `file` must outlive this.
  ByteReader(const RandomAccessFile& file, uint64_t end) : file_(file), end_(end) {}

  template <typename T>
  T Get() {
    T value{};
    GetBytes(&value, sizeof(value));
    return value;
  }
  void GetBytes(void* out, uint64_t bytes);
  // u64 length and that many bytes; more than `max_bytes` is a failure that names `what`.
  std::string GetString(uint64_t max_bytes, absl::string_view what);

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return end_ - position_; }
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  // InvalidArgument "at byte N: WHAT", unless there was a failure before.
  void Fail(absl::string_view what);

 private:
  const RandomAccessFile& file_;
  uint64_t end_, position_ = 0;
  std::string buffer_;         // bytes of the file from buffer_start_
  uint64_t buffer_start_ = 0;  // holds position_, or is empty
  absl::Status status_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_BYTE_READER_H_
