// MANIFEST.json: which files make up a checkpoint, and how to tell that they are whole.
//
//   {"format": "lorikeet-checkpoint", "version": 1, "step": 120, "commit": 7,
//    "files": {"adapter_model.safetensors": {"bytes": 19557864, "sha256": "ba78..."}, ...},
//    "sha256": "..."}                                                   of this object, without this key
//
//   absl::StatusOr<CheckpointManifest> m = ReadManifest("out/run1/checkpoint-120", FileSystem::Real());
//   absl::Status status = VerifyFiles("out/run1/checkpoint-120", *m, FileSystem::Real());
//
// `commit` grows with every checkpoint committed to an output directory; `version` with every change that older
// programs would misread. Errors: DataLoss for a manifest or file that is missing, cut or changed, with its path;
// Unimplemented for a version that this program does not know. Threads: any.
#ifndef LORIKEET_APPS_TRAINING_CHECKPOINT_MANIFEST_H_
#define LORIKEET_APPS_TRAINING_CHECKPOINT_MANIFEST_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "apps/training/sha256.h"
#include "tensor/io/file_system.h"

namespace lorikeet {

inline constexpr char kManifestName[] = "MANIFEST.json";
inline constexpr int64_t kManifestVersion = 1;

struct CheckpointManifest {
  int64_t step = 0;
  int64_t commit = 0;
  std::map<std::string, FileDigest> files;
};

std::string ToJson(const CheckpointManifest& manifest);
absl::StatusOr<CheckpointManifest> ParseManifest(absl::string_view json);
absl::StatusOr<CheckpointManifest> ReadManifest(const std::string& checkpoint, FileSystem& file_system);
absl::Status VerifyFiles(const std::string& checkpoint, const CheckpointManifest& manifest, FileSystem& file_system);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_CHECKPOINT_MANIFEST_H_
