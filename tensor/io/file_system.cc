#include "tensor/io/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <limits>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace lorikeet {

FileSystem& FileSystem::Real() {
  static FileSystem* const real = new FileSystem;
  return *real;
}

int FileSystem::Open(const std::string& path, int flags, mode_t mode) { return ::open(path.c_str(), flags, mode); }

ssize_t FileSystem::PRead(int fd, void* out, size_t bytes, uint64_t offset) {
  return ::pread(fd, out, bytes, static_cast<off_t>(offset));
}

ssize_t FileSystem::Write(int fd, const void* data, size_t bytes) { return ::write(fd, data, bytes); }
int FileSystem::Fsync(int fd) { return ::fsync(fd); }
int FileSystem::Close(int fd) { return ::close(fd); }

int FileSystem::Rename(const std::string& from, const std::string& to) { return std::rename(from.c_str(), to.c_str()); }

int FileSystem::Unlink(const std::string& path) { return ::unlink(path.c_str()); }
int FileSystem::Mkdir(const std::string& path, mode_t mode) { return ::mkdir(path.c_str(), mode); }
int FileSystem::Rmdir(const std::string& path) { return ::rmdir(path.c_str()); }

uint64_t FileSystem::FreeBytes(const std::string& path) {
  struct statvfs info;
  if (::statvfs(path.c_str(), &info) != 0) return std::numeric_limits<uint64_t>::max();
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

absl::Status ErrnoStatus(int error, absl::string_view action, absl::string_view path) {
  const std::string message = absl::StrCat("cannot ", action, " ", path, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EISDIR:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case EINVAL:
      return absl::InvalidArgumentError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::DataLossError(message);
  }
}

}  // namespace lorikeet
