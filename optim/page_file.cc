#include "optim/page_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

absl::Status SystemError(int error, const std::string& what) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": no space left; free some, or choose a directory on another disk"));
  }
  return absl::ErrnoToStatus(error, what);
}

class TemporaryPageFile : public PageFile {
 public:
  TemporaryPageFile(int fd, std::string directory) : fd_(fd), directory_(std::move(directory)) {}
  ~TemporaryPageFile() override { close(fd_); }

  absl::Status Write(int64_t offset, absl::Span<const char> bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = pwrite(fd_, bytes.data(), bytes.size(), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return SystemError(n == 0 ? EIO : errno, absl::StrCat("writing optimizer pages in ", directory_));
      bytes.remove_prefix(static_cast<size_t>(n));
      offset += n;
    }
    return absl::OkStatus();
  }

  absl::Status Read(int64_t offset, absl::Span<char> bytes) const override {
    while (!bytes.empty()) {
      const ssize_t n = pread(fd_, bytes.data(), bytes.size(), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return SystemError(errno, absl::StrCat("reading optimizer pages in ", directory_));
      if (n == 0) return absl::DataLossError(absl::StrCat("the file of optimizer pages in ", directory_, " was cut"));
      bytes.remove_prefix(static_cast<size_t>(n));
      offset += n;
    }
    return absl::OkStatus();
  }

  std::string where() const override { return directory_; }

  // Beyond RLIMIT_FSIZE the kernel does not only refuse but sends SIGXFSZ, so the limit is looked at first.
  absl::Status Reserve(int64_t bytes) {
    const std::string what = absl::StrCat("reserving ", bytes, " bytes for optimizer pages in ", directory_);
    rlimit limit{};
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        static_cast<uint64_t>(bytes) > limit.rlim_cur) {
      return SystemError(EFBIG, what);
    }
    if (fallocate(fd_, 0, 0, bytes) == 0) return absl::OkStatus();
    if (errno != EOPNOTSUPP && errno != ENOSYS) return SystemError(errno, what);
    return ftruncate(fd_, bytes) == 0 ? absl::OkStatus() : SystemError(errno, what);
  }

 private:
  const int fd_;
  const std::string directory_;
};

// O_TMPFILE where the file system has it, else a name that is removed at once. Negative: errno says why.
int OpenNameless(const std::string& directory) {
  const int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return fd;
  std::string name = directory + "/optimizer-pages-XXXXXX";
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PageFile>> CreateTemporaryPageFile(const std::string& directory, int64_t bytes) {
  const int fd = OpenNameless(directory);
  if (fd < 0) return SystemError(errno, absl::StrCat("creating a file for optimizer pages in ", directory));
  auto file = std::make_unique<TemporaryPageFile>(fd, directory);
  if (absl::Status reserved = file->Reserve(bytes); !reserved.ok()) return reserved;
  return file;
}

}  // namespace lorikeet
