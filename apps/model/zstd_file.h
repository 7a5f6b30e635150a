// A file that is stored compressed by zstd and read as if it were not.
//
//   absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenZstdFile("model.safetensors.zst", 1 << 30);
//   absl::Status status = WriteZstdFile("model.safetensors.zst", bytes);
//
// The whole of it is decoded into memory when it is opened: for small files. Memory: the decoded size, which the frame
// must name, and which is checked before anything is allocated. Errors: InvalidArgument for a file that is not one zstd
// frame with a size and a checksum, or that is larger than max_bytes; DataLoss where the checksum tells; else those of
// tensor/io/file.h and atomic_file.h. Threads: as RandomAccessFile. Source: RFC 8878.
#ifndef LORIKEET_APPS_MODEL_ZSTD_FILE_H_
#define LORIKEET_APPS_MODEL_ZSTD_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/io/file.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenZstdFile(const std::string& path, uint64_t max_bytes);

// At the highest ordinary level, with a checksum; atomically.
absl::Status WriteZstdFile(const std::string& path, absl::string_view bytes);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_ZSTD_FILE_H_
