// SHA-256 (FIPS 180-4), for saying which bytes a run read and wrote.
//
//   Sha256 hash;
//   hash.Update(bytes);  ...
//   hash.Hex()                                                   // "ba7816bf...", what `sha256sum` prints
//
//   absl::StatusOr<FileDigest> d = DigestOfFile("model.safetensors");
//
// Threads: one per object. Errors: those of OpenFile and Read (tensor/io/file.h).
#ifndef LORIKEET_APPS_TRAINING_SHA256_H_
#define LORIKEET_APPS_TRAINING_SHA256_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/io/file_system.h"

namespace lorikeet {

class Sha256 {
 public:
  void Update(absl::string_view bytes);
  // Of everything so far; 64 lower-case digits. The object is not changed.
  std::string Hex() const;

 private:
  void Block(const uint8_t* block);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> pending_ = {};
  uint64_t bytes_ = 0;  // so far; the last bytes_ % 64 of them are in pending_
};

struct FileDigest {
  uint64_t bytes = 0;
  std::string sha256;
};

absl::StatusOr<FileDigest> DigestOfFile(const std::string& path, FileSystem& file_system = FileSystem::Real());

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_SHA256_H_
