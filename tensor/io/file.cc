#include "tensor/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace lorikeet {
namespace {

class PosixFile : public RandomAccessFile {
 public:
  PosixFile(int fd, uint64_t size, std::string path, FileSystem& file_system)
      : fd_(fd), size_(size), path_(std::move(path)), file_system_(file_system) {}
  ~PosixFile() override { file_system_.Close(fd_); }

  absl::Status Read(uint64_t offset, void* out, size_t bytes) const override {
    char* p = static_cast<char*>(out);
    while (bytes > 0) {
      const ssize_t n = file_system_.PRead(fd_, p, std::min(bytes, size_t{1} << 30), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "read", path_);
      if (n == 0) {
        return absl::DataLossError(absl::StrCat(path_, " ends at byte ", offset, " where ", bytes,
                                                " more were expected: it was cut short while it was read"));
      }
      p += n;
      offset += static_cast<uint64_t>(n);
      bytes -= static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }
  uint64_t size() const override { return size_; }
  const std::string& path() const override { return path_; }

 private:
  int fd_;
  uint64_t size_;
  std::string path_;
  FileSystem& file_system_;
};

// A fifo would block without O_NONBLOCK; regular files ignore it.
constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

absl::StatusOr<std::unique_ptr<RandomAccessFile>> Adopt(int fd, const std::string& path, FileSystem& file_system) {
  struct stat info;
  absl::Status status;
  if (::fstat(fd, &info) != 0) {
    status = ErrnoStatus(errno, "examine", path);
  } else if (!S_ISREG(info.st_mode)) {
    status = absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  } else {
    return std::make_unique<PosixFile>(fd, static_cast<uint64_t>(info.st_size), path, file_system);
  }
  file_system.Close(fd);
  return status;
}

bool IsPlainFileName(absl::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         name.find_first_of(absl::string_view("/\\\0", 3)) == absl::string_view::npos;
}

// Where a link of the Hugging Face cache leads, whose layout is fixed: snapshots/REVISION/NAME -> ../../blobs/HEX. Any
// other link: "".
std::string CacheBlob(int directory, const std::string& name) {
  char target[PATH_MAX];
  const ssize_t n = ::readlinkat(directory, name.c_str(), target, sizeof target);
  absl::string_view blob(target, n > 0 ? static_cast<size_t>(n) : 0);
  const std::string path(blob);
  if (!absl::ConsumePrefix(&blob, "../../blobs/")) return "";
  return !blob.empty() && std::all_of(blob.begin(), blob.end(), absl::ascii_isxdigit) ? path : "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenFile(const std::string& path, FileSystem& file_system) {
  const int fd = file_system.Open(path, kReadFlags, 0);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  return Adopt(fd, path, file_system);
}

absl::StatusOr<std::unique_ptr<Directory>> Directory::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open directory", path);
  return std::unique_ptr<Directory>(new Directory(fd, path));
}

Directory::~Directory() { ::close(fd_); }

absl::StatusOr<std::unique_ptr<RandomAccessFile>> Directory::OpenFile(const std::string& name) const {
  if (!IsPlainFileName(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("refusing to open ", Quoted(name), " in ", path_, ": not a plain file name"));
  }
  const std::string path = absl::StrCat(path_, "/", name);
  struct stat info;
  std::string file = name;
  // Asked first, so that what is no regular file is not even opened: opening a device may do something.
  if (::fstatat(fd_, file.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoStatus(errno, "open", path);
  if (S_ISLNK(info.st_mode)) {
    file = CacheBlob(fd_, name);
    if (file.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " is a symbolic link, which is not followed; put the file itself there (cp -L copies it)"));
    }
    if (::fstatat(fd_, file.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoStatus(errno, "open", path);
  }
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  const int fd = ::openat(fd_, file.c_str(), kReadFlags | O_NOFOLLOW);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  return Adopt(fd, path, FileSystem::Real());
}

absl::StatusOr<std::string> ReadFileToString(const std::string& path, uint64_t max_bytes) {
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenFile(path);
  if (!file.ok()) return file.status();
  if ((*file)->size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", (*file)->size(), " bytes, at most ", max_bytes, " are expected"));
  }
  std::string text((*file)->size(), '\0');
  absl::Status status = (*file)->Read(0, &text[0], text.size());
  if (!status.ok()) return status;
  return text;
}

std::string Quoted(absl::string_view text) {
  constexpr size_t kMax = 120;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kMax)), text.size() > kMax ? "\"..." : "\"");
}

}  // namespace lorikeet
