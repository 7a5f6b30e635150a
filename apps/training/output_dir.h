// The directory that a run writes to: made and tried before anything expensive is loaded, and owned by one run.
//
//   absl::Status status = PrepareOutputDir("out/run1");
//   status = CheckFreeSpace("out/run1", /*expected_bytes=*/200 << 20);
//   absl::StatusOr<OutputDirLock> lock = OutputDirLock::Acquire("out/run1");         // keep it while the run lasts
//
// PrepareOutputDir makes the last directory of the path, never its parents (a mistyped path stays an error), writes a
// file and removes it. The lock is the kernel's (flock on DIR/.lock), so it goes with its process however that ends;
// the file stays, and says who held it last. On network file systems it protects as far as their flock does.
//
// Errors say what to do: NotFound (no parent), PermissionDenied, InvalidArgument (a file in the way),
// ResourceExhausted (disk full), Unavailable (another run writes there; its process id and host).
// Threads: one at a time.
#ifndef LORIKEET_APPS_TRAINING_OUTPUT_DIR_H_
#define LORIKEET_APPS_TRAINING_OUTPUT_DIR_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensor/io/file_system.h"

namespace lorikeet {

absl::Status PrepareOutputDir(const std::string& path, FileSystem& file_system = FileSystem::Real());

// Whether the disk has room for what a run will write, so that a run does not end hours later for want of it.
absl::Status CheckFreeSpace(const std::string& directory, uint64_t expected_bytes,
                            FileSystem& file_system = FileSystem::Real());

class OutputDirLock {
 public:
  static absl::StatusOr<OutputDirLock> Acquire(const std::string& directory);
  ~OutputDirLock();
  OutputDirLock(OutputDirLock&& other) noexcept
      : directory_(std::move(other.directory_)), fd_(std::exchange(other.fd_, -1)) {}
  OutputDirLock& operator=(OutputDirLock&&) = delete;

  const std::string& directory() const { return directory_; }

 private:
  OutputDirLock(std::string directory, int fd) : directory_(std::move(directory)), fd_(fd) {}
  std::string directory_;
  int fd_;  // -1: moved from
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_OUTPUT_DIR_H_
