// Checkpoints that are whole or not there: the protocol of their directories, whatever is inside.
//
//   absl::Status status = CleanLeftovers(lock);                                        // once, at the start
//
//   absl::StatusOr<std::unique_ptr<CheckpointWriter>> writer = CheckpointWriter::Create(lock.directory(), step);
//   status = WriteSafetensors((*writer)->Path("adapter_model.safetensors"), ...);      // anything that writes files
//   status = (*writer)->WriteFile("trainer_state.json", text);
//   status = (*writer)->Commit({.save_total_limit = 3});
//
//   absl::StatusOr<FoundCheckpoint> found = FindCheckpoint("out/run1", "latest");
//
// What lies in an output directory:
//
//   checkpoint-120/            a checkpoint: files, and MANIFEST.json with the size and SHA-256 of each
//   latest                     "checkpoint-120\n": for people and scripts; FindCheckpoint asks the manifests
//   best                       "checkpoint-80\n": rotation keeps this one
//   tmp-checkpoint-160.PID-N/  being written, or being deleted, or left by a dead process: never read
//   checkpoint-160.replaced/   for an instant, while another checkpoint of the same step takes its place
//
// Commit, in this order: every file to disk, MANIFEST.json to disk, the directory itself, rename to checkpoint-N, the
// output directory to disk; only then `latest` (and `best`), and only after that are old checkpoints deleted, each
// renamed first. So at any instant, a power failure included, the newest checkpoint that was committed is whole.
// Manifests carry a number that grows with every commit: "newest" means that, not the clock and not the step, so that a
// run continued from an earlier checkpoint does not mix with the later ones of the branch it left.
//
// Errors: those of the file layer. If Commit fails before the rename, nothing has changed and the temporary directory
// is removed; if after it, the message begins with "checkpoint-N is saved, but". Threads: one at a time. One process,
// the one that holds the directory's lock, writes; any may read.
#ifndef LORIKEET_APPS_TRAINING_CHECKPOINT_H_
#define LORIKEET_APPS_TRAINING_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "apps/training/output_dir.h"
#include "tensor/io/file_system.h"

namespace lorikeet {

struct CommitOptions {
  int64_t save_total_limit = 0;  // checkpoints to keep, this one and the best among them; 0: all
  bool best = false;             // mark it as the best so far
};

class CheckpointWriter {
 public:
  // `output_dir` exists. ResourceExhausted if `expected_bytes` do not fit on the disk.
  static absl::StatusOr<std::unique_ptr<CheckpointWriter>> Create(const std::string& output_dir, int64_t step,
                                                                  uint64_t expected_bytes = 0,
                                                                  FileSystem& file_system = FileSystem::Real());
  // Without Commit, removes what was written.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Where to write the file `name` (a plain name: checkpoints have no subdirectories). It must be closed before Commit.
  std::string Path(absl::string_view name) const;
  absl::Status WriteFile(absl::string_view name, absl::string_view bytes);
  absl::Status Commit(const CommitOptions& options);

 private:
  CheckpointWriter(std::string output_dir, int64_t step, std::string temporary, FileSystem& file_system)
      : output_dir_(std::move(output_dir)), step_(step), temporary_(std::move(temporary)), file_system_(file_system) {}
  absl::Status WriteManifest();
  absl::Status Publish();

  std::string output_dir_;
  int64_t step_;
  std::string temporary_;  // the directory's path; empty once it is renamed
  FileSystem& file_system_;
};

struct FoundCheckpoint {
  std::string path;
  int64_t step = 0;
  std::vector<std::string> warnings;  // checkpoints passed over because they are damaged, naming the file
};

// `which` is "latest", "best", or a checkpoint's path (looked for in `output_dir` too). Every file is read and compared
// with the manifest. NotFound: there is none. DataLoss: all are damaged, or the one named is. Unimplemented: one was
// written by a newer version of this program.
absl::StatusOr<FoundCheckpoint> FindCheckpoint(const std::string& output_dir, const std::string& which,
                                               FileSystem& file_system = FileSystem::Real());

// True if a run has left checkpoints here, whole or not: a new run should go elsewhere, or continue.
bool HasCheckpoints(const std::string& output_dir);

// Removes what a killed process left half-written or half-deleted. Holding the lock means that no one is writing.
absl::Status CleanLeftovers(const OutputDirLock& lock, FileSystem& file_system = FileSystem::Real());

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_CHECKPOINT_H_
