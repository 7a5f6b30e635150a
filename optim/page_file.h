// PageFile: bytes on a disk that belong to this process alone and go with it.
//
//   absl::StatusOr<std::unique_ptr<PageFile>> file = CreateTemporaryPageFile("/var/tmp", 1 << 30);
//   absl::Status written = (*file)->Write(/*offset=*/0, page);
//
// The file has no name, or loses it as soon as it is open: nothing stays behind on any way out, a crash included. Its
// whole size is reserved when it is created, so a disk that is too small is found before there is anything to lose
// (file systems that cannot reserve find it in Write). Threads: reads and writes of different ranges may run at once.
// Errors name the directory: ResourceExhausted for a full disk or a size limit, else what the system's error stands
// for; DataLoss for a file that is shorter than it was.
#ifndef LORIKEET_OPTIM_PAGE_FILE_H_
#define LORIKEET_OPTIM_PAGE_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace lorikeet {

class PageFile {
 public:
  virtual ~PageFile() = default;
  virtual absl::Status Write(int64_t offset, absl::Span<const char> bytes) = 0;
  virtual absl::Status Read(int64_t offset, absl::Span<char> bytes) const = 0;
  virtual std::string where() const = 0;  // for messages
};

absl::StatusOr<std::unique_ptr<PageFile>> CreateTemporaryPageFile(const std::string& directory, int64_t bytes);

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_PAGE_FILE_H_
