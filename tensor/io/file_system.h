// FileSystem: the system calls that reading and writing files need, one virtual each.
//
//   class DiskFull : public FileSystem {
//     ssize_t Write(int, const void*, size_t) override { errno = ENOSPC; return -1; }
//   };
//
// Programs use FileSystem::Real(); a test overrides the call that is to fail. Results and errno are those of the calls.
// Threads: any, for Real().
#ifndef LORIKEET_TENSOR_IO_FILE_SYSTEM_H_
#define LORIKEET_TENSOR_IO_FILE_SYSTEM_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace lorikeet {

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  static FileSystem& Real();

  virtual int Open(const std::string& path, int flags, mode_t mode);
  virtual ssize_t PRead(int fd, void* out, size_t bytes, uint64_t offset);
  virtual ssize_t Write(int fd, const void* data, size_t bytes);
  virtual int Fsync(int fd);
  virtual int Close(int fd);
  virtual int Rename(const std::string& from, const std::string& to);
  virtual int Unlink(const std::string& path);
  virtual int Mkdir(const std::string& path, mode_t mode);
  virtual int Rmdir(const std::string& path);
  // Bytes that this user may still write to the file system of `path`; UINT64_MAX where that is not known.
  virtual uint64_t FreeBytes(const std::string& path);
};

// "cannot ACTION PATH: REASON" with the code that tells a program how to end: NotFound (no such file),
// PermissionDenied, InvalidArgument (a directory, a loop of links, ...), ResourceExhausted (disk full, quota, too many
// open files), else DataLoss (the disk fails).
absl::Status ErrnoStatus(int error, absl::string_view action, absl::string_view path);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_FILE_SYSTEM_H_
