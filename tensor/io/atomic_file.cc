#include "tensor/io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "tensor/check.h"

namespace lorikeet {
namespace {

// Where the last name of a path begins.
size_t NameStart(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? 0 : slash + 1;
}

std::string DirectoryOf(const std::string& path) {
  const size_t name = NameStart(path);
  return name == 0 ? "." : path.substr(0, name);
}

std::string TemporaryName(const std::string& path) {
  static std::atomic<int> counter{0};
  const size_t name = NameStart(path);
  return absl::StrCat(path.substr(0, name), ".", path.substr(name), ".", ::getpid(), "-", counter.fetch_add(1), ".tmp");
}

absl::Status NoSpace(const std::string& path, uint64_t needed, uint64_t free) {
  return absl::ResourceExhaustedError(absl::StrCat("not enough disk space to write ", path, ": ", needed,
                                                   " bytes needed, ", free,
                                                   " free; make room or write to another directory"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& path, uint64_t expected_bytes,
                                                               FileSystem& file_system) {
  if (NameStart(path) == path.size()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot write \"", path, "\": it is not the name of a file"));
  }
  const uint64_t free = file_system.FreeBytes(DirectoryOf(path));
  if (expected_bytes > free) return NoSpace(path, expected_bytes, free);
  // A file of this name can only be left over from a dead process with our id.
  int fd = -1;
  std::string temporary;
  do {
    temporary = TemporaryName(path);
    fd = file_system.Open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (fd < 0 && (errno == EEXIST || errno == EINTR));
  if (fd < 0) return ErrnoStatus(errno, "create", path);
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, temporary, fd, expected_bytes, file_system));
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) file_system_.Close(fd_);
  if (!temporary_.empty()) file_system_.Unlink(temporary_);
}

absl::Status AtomicFile::WriteError(int error, uint64_t pending) {
  failed_ = true;
  if (error != ENOSPC && error != EDQUOT) return ErrnoStatus(error, "write", path_);
  const uint64_t needed = std::max(expected_bytes_, written_ + pending) - written_;
  return NoSpace(path_, needed, file_system_.FreeBytes(DirectoryOf(path_)));
}

absl::Status AtomicFile::Append(absl::string_view bytes) {
  LORIKEET_CHECK(fd_ >= 0 && !failed_) << "AtomicFile: " << path_ << " is committed, or a write failed";
  while (!bytes.empty()) {
    const ssize_t n = file_system_.Write(fd_, bytes.data(), std::min(bytes.size(), size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return WriteError(n < 0 ? errno : ENOSPC, bytes.size());
    bytes.remove_prefix(static_cast<size_t>(n));
    written_ += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  LORIKEET_CHECK(fd_ >= 0 && !failed_) << "AtomicFile: " << path_ << " is committed, or a write failed";
  if (file_system_.Fsync(fd_) != 0) return WriteError(errno, 0);
  // The descriptor is gone whatever close says, and EINTR after fsync loses nothing.
  const int closed = file_system_.Close(std::exchange(fd_, -1));
  if (closed != 0 && errno != EINTR) return WriteError(errno, 0);
  if (file_system_.Rename(temporary_, path_) != 0) {
    failed_ = true;
    return ErrnoStatus(errno, "replace", path_);
  }
  temporary_.clear();
  return SyncDirectory();
}

absl::Status AtomicFile::SyncDirectory() {
  const std::string directory = DirectoryOf(path_);
  const int fd = file_system_.Open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "open directory", directory);
  const int synced = file_system_.Fsync(fd);
  const int error = errno;
  file_system_.Close(fd);
  // Some network file systems cannot sync a directory, and say so with EINVAL.
  return synced == 0 || error == EINVAL ? absl::OkStatus() : ErrnoStatus(error, "sync directory", directory);
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes, FileSystem& file_system) {
  absl::StatusOr<std::unique_ptr<AtomicFile>> file = AtomicFile::Create(path, bytes.size(), file_system);
  if (!file.ok()) return file.status();
  absl::Status status = (*file)->Append(bytes);
  return status.ok() ? (*file)->Commit() : status;
}

}  // namespace lorikeet
