#include "apps/training/output_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace lorikeet {
namespace {

absl::Status WithHint(const absl::Status& status, absl::string_view hint) {
  return absl::Status(status.code(), absl::StrCat(status.message(), "; ", hint));
}

absl::Status MakeDirectory(const std::string& path, FileSystem& file_system) {
  if (file_system.Mkdir(path, 0777) == 0) return absl::OkStatus();
  const int error = errno;
  struct stat info;
  if (error == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return absl::OkStatus();
  if (error == EEXIST) {
    return absl::InvalidArgumentError(absl::StrCat("cannot use ", path,
                                                   " as the output directory: a file of this name ",
                                                   "is in the way; move it, or choose another --output_dir"));
  }
  const absl::Status status = ErrnoStatus(error, "make the output directory", path);
  if (error == ENOENT) return WithHint(status, "the directory above it does not exist: make it with mkdir -p");
  return WithHint(status, "choose an --output_dir that you may write to");
}

std::string LockHolder(int fd) {
  char text[HOST_NAME_MAX + 32];
  const ssize_t n = ::pread(fd, text, sizeof text, 0);
  absl::string_view holder = absl::StripAsciiWhitespace({text, n > 0 ? static_cast<size_t>(n) : 0});
  return holder.empty() ? "another process" : std::string(holder);
}

// Not worth a failed run: only the message of a second run needs it.
void WriteLockHolder(int fd) {
  char host[HOST_NAME_MAX + 1] = {};
  if (::gethostname(host, HOST_NAME_MAX) != 0) host[0] = '\0';
  const std::string text = absl::StrCat("process ", ::getpid(), " on ", host, "\n");
  if (::ftruncate(fd, 0) == 0) (void)!::pwrite(fd, text.data(), text.size(), 0);
}

}  // namespace

absl::Status PrepareOutputDir(const std::string& path, FileSystem& file_system) {
  if (path.empty()) return absl::InvalidArgumentError("no output directory: give one with --output_dir=DIR");
  absl::string_view name = path;
  while (name.size() > 1 && absl::ConsumeSuffix(&name, "/")) continue;
  absl::Status status = MakeDirectory(std::string(name), file_system);
  if (!status.ok()) return status;
  const std::string trial = absl::StrCat(path, "/.write_test.", ::getpid());
  const int fd = file_system.Open(trial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  bool written = fd >= 0 && file_system.Write(fd, "", 1) == 1 && file_system.Fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) {
    file_system.Close(fd);
    file_system.Unlink(trial);
  }
  if (!written) {
    return WithHint(ErrnoStatus(error, "write to the output directory", path),
                    "choose an --output_dir that you may write to and that has room");
  }
  return absl::OkStatus();
}

absl::Status CheckFreeSpace(const std::string& directory, uint64_t expected_bytes, FileSystem& file_system) {
  const uint64_t free = file_system.FreeBytes(directory);
  if (free >= expected_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("not enough disk space for ", directory,
                                                   ": this run will write about ", expected_bytes, " bytes, ", free,
                                                   " are free; make room or choose another --output_dir"));
}

absl::StatusOr<OutputDirLock> OutputDirLock::Acquire(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/.lock");
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0) return ErrnoStatus(errno, "open the lock", path);
  int locked;
  do locked = ::flock(fd, LOCK_EX | LOCK_NB);
  while (locked != 0 && errno == EINTR);
  if (locked != 0) {
    const int error = errno;
    const std::string holder = LockHolder(fd);
    ::close(fd);
    if (error != EWOULDBLOCK) return ErrnoStatus(error, "lock", path);
    return absl::UnavailableError(absl::StrCat("another run is writing to ", directory, ": ", holder,
                                               "; wait until it ends, stop it, or choose another --output_dir"));
  }
  WriteLockHolder(fd);
  return OutputDirLock(directory, fd);
}

OutputDirLock::~OutputDirLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace lorikeet
