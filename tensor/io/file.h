// Reading files that may be damaged, hostile or cut short while they are read.
//
//   absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenFile("model.safetensors");
//   uint64_t n;
//   absl::Status status = (*file)->Read(0, &n, sizeof(n));
//
// By pread, never mmap: a file that shrinks becomes an error, not a SIGBUS. Only regular files are opened, so a fifo or
// a device never blocks. Threads: const methods may run concurrently. Errors: ErrnoStatus's codes; DataLoss where the
// file ends before its size.
#ifndef LORIKEET_TENSOR_IO_FILE_H_
#define LORIKEET_TENSOR_IO_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/io/file_system.h"

namespace lorikeet {

class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;
  // All of [offset, offset + bytes) into `out` (any pointer where bytes is 0), or an error.
  virtual absl::Status Read(uint64_t offset, void* out, size_t bytes) const = 0;
  // In bytes, when it was opened.
  virtual uint64_t size() const = 0;
  // For messages.
  virtual const std::string& path() const = 0;
};

// Follows symbolic links.
absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenFile(const std::string& path,
                                                           FileSystem& file_system = FileSystem::Real());

// A directory held open, for files whose names come from another file: they are opened by plain name only, and neither
// `..` nor a link leads out of it. One kind of link is followed, that of the Hugging Face cache, in which every file of
// snapshots/REVISION/ is a link to ../../blobs/HEX: it leads to a blob of the same model and nowhere else.
class Directory {
 public:
  static absl::StatusOr<std::unique_ptr<Directory>> Open(const std::string& path);
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  // InvalidArgument, and nothing is opened, unless `name` is a plain file name of a regular file.
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenFile(const std::string& name) const;
  const std::string& path() const { return path_; }

 private:
  Directory(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::string path_;
};

// The whole of a file, which must not be larger than `max_bytes` (InvalidArgument).
absl::StatusOr<std::string> ReadFileToString(const std::string& path, uint64_t max_bytes);

// Text from a file as it may be printed: in quotes, everything but printable ASCII escaped, shortened.
std::string Quoted(absl::string_view text);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_FILE_H_
