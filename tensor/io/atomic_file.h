// Files that are replaced whole or not at all.
//
//   absl::Status status = WriteFileAtomically("run.json", text);
//
//   absl::StatusOr<std::unique_ptr<AtomicFile>> file = AtomicFile::Create("state.bin", /*expected_bytes=*/n);
//   status = (*file)->Append(bytes);  ...  status = (*file)->Commit();
//
// The bytes go to a temporary file in the same directory, ".NAME.PID-N.tmp". Commit makes them durable (fsync), renames
// it to its name and makes that durable (fsync of the directory). Until the rename the old file is untouched; a reader
// sees the old bytes or the new ones, also after a power failure. Where the name is a symbolic link, the link is
// replaced, not its target. An AtomicFile that is destroyed without Commit, or that had any failure, removes its
// temporary file; a killed process leaves it behind, and nothing reads it.
//
// Errors: ErrnoStatus's codes with the path; ResourceExhausted says how many bytes were needed and how many are free,
// and comes from Create already where `expected_bytes` cannot fit. After a failure only destruction is meaningful: a
// failed fsync is never repeated, because the kernel may have dropped the bytes. Only if the last step, the directory's
// fsync, fails has the file been replaced although Commit reports an error. Threads: one at a time.
#ifndef LORIKEET_TENSOR_IO_ATOMIC_FILE_H_
#define LORIKEET_TENSOR_IO_ATOMIC_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/io/file_system.h"

namespace lorikeet {

class AtomicFile {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(const std::string& path, uint64_t expected_bytes = 0,
                                                            FileSystem& file_system = FileSystem::Real());
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Unbuffered: worth a few kilobytes at a time at least.
  absl::Status Append(absl::string_view bytes);
  absl::Status Commit();

  // Where the bytes are until Commit, for whoever wants to read them first.
  const std::string& temporary() const { return temporary_; }

 private:
  AtomicFile(std::string path, std::string temporary, int fd, uint64_t expected_bytes, FileSystem& file_system)
      : path_(std::move(path)),
        temporary_(std::move(temporary)),
        fd_(fd),
        expected_bytes_(expected_bytes),
        file_system_(file_system) {}
  absl::Status WriteError(int error, uint64_t pending);
  absl::Status SyncDirectory();

  std::string path_, temporary_;  // temporary_ is empty once it is renamed
  int fd_;                        // -1: closed
  uint64_t expected_bytes_, written_ = 0;
  bool failed_ = false;
  FileSystem& file_system_;
};

absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes,
                                 FileSystem& file_system = FileSystem::Real());

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_ATOMIC_FILE_H_
