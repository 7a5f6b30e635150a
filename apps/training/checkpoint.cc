#include "apps/training/checkpoint.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "apps/training/checkpoint_manifest.h"
#include "apps/training/sha256.h"
#include "tensor/check.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

constexpr char kPrefix[] = "checkpoint-";
constexpr char kTemporaryPrefix[] = "tmp-checkpoint-";
constexpr char kReplacedSuffix[] = ".replaced";

std::string Join(const std::string& directory, absl::string_view name) { return absl::StrCat(directory, "/", name); }

std::string NameOf(int64_t step) { return absl::StrCat(kPrefix, step); }

// The step of "checkpoint-120", or -1.
int64_t StepOf(absl::string_view name) {
  int64_t step = -1;
  absl::string_view digits = name;
  if (!absl::ConsumePrefix(&digits, kPrefix) || !absl::SimpleAtoi(digits, &step)) return -1;
  return step >= 0 && name == NameOf(step) ? step : -1;
}

std::string TemporaryPath(const std::string& directory, int64_t step) {
  static std::atomic<int> counter{0};
  return Join(directory, absl::StrCat(kTemporaryPrefix, step, ".", ::getpid(), "-", counter.fetch_add(1)));
}

// A link counts as a file: what it points to is not ours to read as a checkpoint or to delete.
bool IsDirectory(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool Exists(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

// Sorted, so that the order of operations does not depend on the file system.
absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& directory) {
  DIR* dir = ::opendir(directory.c_str());
  if (dir == nullptr) return ErrnoStatus(errno, "list", directory);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  const int error = errno;
  ::closedir(dir);
  if (error != 0) return ErrnoStatus(error, "list", directory);
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status Sync(const std::string& path, FileSystem& fs) {
  const int fd = fs.Open(path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  const int synced = fs.Fsync(fd);
  const int error = errno;
  fs.Close(fd);
  // Some network file systems cannot sync a directory, and say so with EINVAL.
  if (synced == 0 || (error == EINVAL && IsDirectory(path))) return absl::OkStatus();
  return ErrnoStatus(error, "sync", path);
}

// A file, a link, or a directory of those.
absl::Status Remove(const std::string& path, FileSystem& fs) {
  if (!IsDirectory(path)) {
    return fs.Unlink(path) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "remove", path);
  }
  absl::StatusOr<std::vector<std::string>> names = NamesIn(path);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (fs.Unlink(Join(path, name)) != 0) return ErrnoStatus(errno, "remove", Join(path, name));
  }
  return fs.Rmdir(path) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "remove", path);
}

// Renamed first, so that no one ever sees half a checkpoint under its name.
absl::Status RemoveCheckpoint(const std::string& output_dir, int64_t step, FileSystem& fs) {
  const std::string path = Join(output_dir, NameOf(step)), doomed = TemporaryPath(output_dir, step);
  if (fs.Rename(path, doomed) != 0) return ErrnoStatus(errno, "remove", path);
  return Remove(doomed, fs);
}

struct Entry {
  int64_t step;
  std::string path;
  absl::StatusOr<CheckpointManifest> manifest;
  int64_t commit() const { return manifest.ok() ? manifest->commit : -1; }
};

// Newest first; those without a readable manifest last.
absl::StatusOr<std::vector<Entry>> Checkpoints(const std::string& output_dir, FileSystem& fs) {
  absl::StatusOr<std::vector<std::string>> names = NamesIn(output_dir);
  if (!names.ok()) return names.status();
  std::vector<Entry> entries;
  for (const std::string& name : *names) {
    const std::string path = Join(output_dir, name);
    const int64_t step = StepOf(name);
    if (step >= 0 && IsDirectory(path)) entries.push_back({step, path, ReadManifest(path, fs)});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::make_pair(a.commit(), a.step) > std::make_pair(b.commit(), b.step);
  });
  return entries;
}

// The step that `latest` or `best` names; -1 if there is none.
int64_t ReadMark(const std::string& output_dir, absl::string_view mark) {
  const absl::StatusOr<std::string> text = ReadFileToString(Join(output_dir, mark), 256);
  return text.ok() ? StepOf(absl::StripAsciiWhitespace(*text)) : -1;
}

absl::Status WriteMark(const std::string& output_dir, absl::string_view mark, int64_t step, FileSystem& fs) {
  return WriteFileAtomically(Join(output_dir, mark), absl::StrCat(NameOf(step), "\n"), fs);
}

absl::Status Rotate(const std::string& output_dir, int64_t limit, int64_t current, FileSystem& fs) {
  if (limit <= 0) return absl::OkStatus();
  absl::StatusOr<std::vector<Entry>> entries = Checkpoints(output_dir, fs);
  if (!entries.ok()) return entries.status();
  const int64_t best = ReadMark(output_dir, "best");
  const auto kept_anyway = [&](const Entry& e) { return e.step == current || e.step == best; };
  int64_t room = limit - std::count_if(entries->begin(), entries->end(), kept_anyway);
  for (const Entry& e : *entries) {
    if (kept_anyway(e) || room-- > 0) continue;
    absl::Status status = RemoveCheckpoint(output_dir, e.step, fs);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Verify(const Entry& e, FileSystem& fs) {
  if (!e.manifest.ok()) return e.manifest.status();
  if (e.manifest->step != e.step) {
    return absl::DataLossError(absl::StrCat(e.path, " holds the manifest of step ", e.manifest->step));
  }
  return VerifyFiles(e.path, *e.manifest, fs);
}

absl::StatusOr<FoundCheckpoint> FindNewest(const std::string& output_dir, FileSystem& fs) {
  absl::StatusOr<std::vector<Entry>> entries = Checkpoints(output_dir, fs);
  if (!entries.ok()) return entries.status();
  if (entries->empty()) {
    return absl::NotFoundError(
        absl::StrCat("there is no checkpoint in ", output_dir, ": start the run without --resume_from_checkpoint"));
  }
  FoundCheckpoint found;
  for (const Entry& e : *entries) {
    if (absl::IsUnimplemented(e.manifest.status())) return e.manifest.status();
    if (e.manifest.ok() && !found.path.empty()) continue;  // older than the one found
    const absl::Status status = Verify(e, fs);
    if (status.ok()) {
      found.path = e.path, found.step = e.step;
    } else {
      found.warnings.push_back(absl::StrCat(NameOf(e.step), " is damaged: ", status.message()));
    }
  }
  if (!found.path.empty()) return found;
  return absl::DataLossError(absl::StrCat("no checkpoint in ", output_dir,
                                          " is whole: ", absl::StrJoin(found.warnings, "; "), "; start the run anew"));
}

absl::StatusOr<FoundCheckpoint> FindNamed(const std::string& path, FileSystem& fs) {
  const absl::StatusOr<CheckpointManifest> manifest = ReadManifest(path, fs);
  if (!manifest.ok()) return manifest.status();
  const absl::Status status = VerifyFiles(path, *manifest, fs);
  if (!status.ok()) return status;
  return FoundCheckpoint{path, manifest->step, {}};
}

bool IsLeftoverFile(absl::string_view name) { return absl::StartsWith(name, ".") && absl::EndsWith(name, ".tmp"); }

absl::Status CleanReplaced(const std::string& path, FileSystem& fs) {
  const std::string original(absl::StripSuffix(path, kReplacedSuffix));
  if (Exists(original)) return Remove(path, fs);
  return fs.Rename(path, original) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "restore", original);
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointWriter::Create(const std::string& output_dir, int64_t step,
                                                                           uint64_t expected_bytes,
                                                                           FileSystem& file_system) {
  LORIKEET_CHECK(step >= 0) << "CheckpointWriter: step " << step;
  if (const uint64_t free = file_system.FreeBytes(output_dir); expected_bytes > free) {
    return absl::ResourceExhaustedError(absl::StrCat("not enough disk space for ", Join(output_dir, NameOf(step)), ": ",
                                                     expected_bytes, " bytes needed, ", free,
                                                     " free; make room, or lower --save_total_limit"));
  }
  const std::string temporary = TemporaryPath(output_dir, step);
  if (file_system.Mkdir(temporary, 0777) != 0) return ErrnoStatus(errno, "make", temporary);
  return std::unique_ptr<CheckpointWriter>(new CheckpointWriter(output_dir, step, temporary, file_system));
}

CheckpointWriter::~CheckpointWriter() {
  // What cannot be removed now is removed by the next run.
  if (!temporary_.empty()) Remove(temporary_, file_system_).IgnoreError();
}

std::string CheckpointWriter::Path(absl::string_view name) const {
  LORIKEET_CHECK(!temporary_.empty()) << "CheckpointWriter: it is committed";
  LORIKEET_CHECK(!name.empty() && name.find('/') == name.npos && name != kManifestName)
      << "CheckpointWriter: \"" << std::string(name) << "\" is no name for a file of a checkpoint";
  return Join(temporary_, name);
}

absl::Status CheckpointWriter::WriteFile(absl::string_view name, absl::string_view bytes) {
  return WriteFileAtomically(Path(name), bytes, file_system_);
}

absl::Status CheckpointWriter::WriteManifest() {
  absl::StatusOr<std::vector<Entry>> others = Checkpoints(output_dir_, file_system_);
  if (!others.ok()) return others.status();
  CheckpointManifest manifest{.step = step_, .commit = 1, .files = {}};
  for (const Entry& e : *others) manifest.commit = std::max(manifest.commit, e.commit() + 1);
  absl::StatusOr<std::vector<std::string>> names = NamesIn(temporary_);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::string path = Join(temporary_, name);
    absl::Status status = Sync(path, file_system_);
    if (!status.ok()) return status;
    absl::StatusOr<FileDigest> digest = DigestOfFile(path, file_system_);
    if (!digest.ok()) return digest.status();
    manifest.files[name] = *digest;
  }
  return WriteFileAtomically(Join(temporary_, kManifestName), ToJson(manifest), file_system_);
}

absl::Status CheckpointWriter::Publish() {
  const std::string path = Join(output_dir_, NameOf(step_)), replaced = absl::StrCat(path, kReplacedSuffix);
  // A directory can take the place of an empty one only.
  const bool replaces = Exists(path);
  if (replaces && file_system_.Rename(path, replaced) != 0) return ErrnoStatus(errno, "move aside", path);
  if (file_system_.Rename(temporary_, path) != 0) {
    const absl::Status status = ErrnoStatus(errno, "rename the finished checkpoint to", path);
    if (replaces) file_system_.Rename(replaced, path);
    return status;
  }
  temporary_.clear();
  return absl::OkStatus();
}

absl::Status CheckpointWriter::Commit(const CommitOptions& options) {
  LORIKEET_CHECK(!temporary_.empty()) << "CheckpointWriter: it is committed";
  absl::Status status = WriteManifest();
  if (status.ok()) status = Publish();
  if (!status.ok()) {
    if (!temporary_.empty()) Remove(std::exchange(temporary_, ""), file_system_).IgnoreError();
    return status;
  }
  status = Sync(output_dir_, file_system_);
  if (status.ok()) status = WriteMark(output_dir_, "latest", step_, file_system_);
  if (status.ok() && options.best) status = WriteMark(output_dir_, "best", step_, file_system_);
  const std::string replaced = Join(output_dir_, absl::StrCat(NameOf(step_), kReplacedSuffix));
  if (status.ok() && Exists(replaced)) status = Remove(replaced, file_system_);
  if (status.ok()) status = Rotate(output_dir_, options.save_total_limit, step_, file_system_);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(NameOf(step_), " is saved, but: ", status.message()));
}

absl::StatusOr<FoundCheckpoint> FindCheckpoint(const std::string& output_dir, const std::string& which,
                                               FileSystem& file_system) {
  if (which == "latest") return FindNewest(output_dir, file_system);
  if (which == "best") {
    const int64_t best = ReadMark(output_dir, "best");
    if (best < 0) return absl::NotFoundError(absl::StrCat("no checkpoint in ", output_dir, " is marked as the best"));
    return FindNamed(Join(output_dir, NameOf(best)), file_system);
  }
  for (const std::string& path : {which, Join(output_dir, which)}) {
    struct stat info;
    if (::stat(path.c_str(), &info) == 0) return FindNamed(path, file_system);
  }
  return absl::NotFoundError(absl::StrCat("there is no checkpoint ", which,
                                          ": give \"latest\", \"best\" or the path of a checkpoint's directory"));
}

bool HasCheckpoints(const std::string& output_dir) {
  const absl::StatusOr<std::vector<std::string>> names = NamesIn(output_dir);
  return names.ok() &&
         std::any_of(names->begin(), names->end(), [](const std::string& name) { return StepOf(name) >= 0; });
}

absl::Status CleanLeftovers(const OutputDirLock& lock, FileSystem& file_system) {
  absl::StatusOr<std::vector<std::string>> names = NamesIn(lock.directory());
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::string path = Join(lock.directory(), name);
    absl::Status status;
    if (absl::StartsWith(name, kTemporaryPrefix) || IsLeftoverFile(name)) {
      status = Remove(path, file_system);
    } else if (absl::EndsWith(name, kReplacedSuffix) && StepOf(absl::StripSuffix(name, kReplacedSuffix)) >= 0) {
      status = CleanReplaced(path, file_system);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
