// Saving a checkpoint while something goes wrong: an operation fails, the power goes, the process is killed.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/training/checkpoint.h"
#include "apps/training/output_dir.h"
#include "gtest/gtest.h"
#include "tensor/io/file.h"
#include "tensor/io/file_system.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

std::string NewDir() {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = test->name();
  std::replace(name.begin(), name.end(), '/', '_');
  const std::string dir = absl::StrCat(testing::TempDir(), "/", name);
  fs::remove_all(dir);
  fs::create_directories(dir);
  return dir;
}

// What a process writes outlives it without fsync, so these tests do without the disk's pace.
struct FastFileSystem : FileSystem {
  int Fsync(int) override { return 0; }
};

FileSystem& Fast() {
  static FastFileSystem fast;
  return fast;
}

// Lets `before` operations through; then one fails, or, if `power_cut`, every one, as if the process had died there.
class FailingFileSystem : public FileSystem {
 public:
  FailingFileSystem(int before, int error, bool power_cut) : left_(before), error_(error), power_cut_(power_cut) {}
  bool hit() const { return left_ < 0; }

  int Open(const std::string& p, int flags, mode_t mode) override { return Fail() ? -1 : real().Open(p, flags, mode); }
  ssize_t PRead(int fd, void* out, size_t n, uint64_t at) override {
    return Fail() ? -1 : real().PRead(fd, out, n, at);
  }
  ssize_t Write(int fd, const void* p, size_t n) override { return Fail() ? -1 : real().Write(fd, p, n); }
  int Fsync(int fd) override { return Fail() ? -1 : real().Fsync(fd); }
  int Rename(const std::string& a, const std::string& b) override { return Fail() ? -1 : real().Rename(a, b); }
  int Unlink(const std::string& p) override { return Fail() ? -1 : real().Unlink(p); }
  int Mkdir(const std::string& p, mode_t mode) override { return Fail() ? -1 : real().Mkdir(p, mode); }
  int Rmdir(const std::string& p) override { return Fail() ? -1 : real().Rmdir(p); }
  int Close(int fd) override {
    const bool fail = Fail();
    real().Close(fd);
    if (fail) errno = error_;
    return fail ? -1 : 0;
  }

 private:
  static FileSystem& real() { return Fast(); }
  bool Fail() {
    const bool fail = left_ == 0 || (left_ < 0 && power_cut_);
    if (left_ >= 0) --left_;
    if (fail) errno = error_;
    return fail;
  }
  int left_, error_;
  bool power_cut_;
};

absl::Status Save(const std::string& dir, int64_t step, int64_t limit, FileSystem& file_system = Fast()) {
  absl::StatusOr<std::unique_ptr<CheckpointWriter>> writer = CheckpointWriter::Create(dir, step, 0, file_system);
  if (!writer.ok()) return writer.status();
  absl::Status status = (*writer)->WriteFile("adapter.bin", std::string(5000, static_cast<char>('a' + step % 26)));
  if (status.ok()) status = (*writer)->WriteFile("state.json", absl::StrCat(step));
  return status.ok() ? (*writer)->Commit({.save_total_limit = limit}) : status;
}

// Whole, with the bytes that Save wrote for its step.
void ExpectWhole(const absl::StatusOr<FoundCheckpoint>& found) {
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->warnings.size(), 0u) << found->warnings[0];
  EXPECT_EQ(ReadFileToString(found->path + "/state.json", 100).value_or("?"), absl::StrCat(found->step));
  EXPECT_EQ(ReadFileToString(found->path + "/adapter.bin", 10000).value_or("?"),
            std::string(5000, static_cast<char>('a' + found->step % 26)));
}

struct Fault {
  const char* name;
  int error;
  bool power_cut;
  int64_t step;  // saved while the fault strikes, after 1 and 2; 2: replaces
};

class CheckpointFaultTest : public testing::TestWithParam<Fault> {};

TEST_P(CheckpointFaultTest, WhereverASaveFailsTheOldOrTheNewCheckpointIsWhole) {
  const Fault fault = GetParam();
  int operation = 0, saved = 0;
  for (bool hit = true; hit; ++operation) {
    ASSERT_LT(operation, 1000);
    const std::string dir = NewDir();
    ASSERT_TRUE(Save(dir, 1, 1).ok() && Save(dir, 2, 1).ok());
    FailingFileSystem failing(operation, fault.error, fault.power_cut);
    const absl::Status status = Save(dir, fault.step, 1, failing);
    hit = failing.hit();
    EXPECT_TRUE(hit || status.ok()) << status;
    if (status.ok() || absl::StrContains(status.message(), " is saved, but: ")) ++saved;
    if (!fault.power_cut) ExpectWhole(FindCheckpoint(dir, "latest"));  // the run goes on
    const absl::StatusOr<OutputDirLock> lock = OutputDirLock::Acquire(dir);
    ASSERT_TRUE(lock.ok() && CleanLeftovers(*lock).ok()) << operation;
    ExpectWhole(FindCheckpoint(dir, "latest"));
    ASSERT_TRUE(Save(dir, 4, 1).ok()) << operation;
    EXPECT_EQ(std::distance(fs::directory_iterator(dir), {}), 3) << operation;  // .lock, latest, checkpoint-4
    if (HasFailure()) break;
  }
  EXPECT_GT(operation, 20);
  EXPECT_GT(saved, 0);
}

INSTANTIATE_TEST_SUITE_P(All, CheckpointFaultTest,
                         testing::Values(Fault{"DiskFull", ENOSPC, false, 3}, Fault{"IoError", EIO, false, 3},
                                         Fault{"PowerCut", EIO, true, 3}, Fault{"IoErrorReplacing", EIO, false, 2},
                                         Fault{"PowerCutReplacing", EIO, true, 2}),
                         [](const auto& fault) { return fault.param.name; });

// Notes for every path whether its bytes and its directory entries are on disk, and checks what a power failure could
// undo: a checkpoint is renamed into place only when all of it is on disk, and nothing is deleted or pointed to it
// before that name is.
class OrderChecker : public FileSystem {
 public:
  explicit OrderChecker(const std::string& dir) : dir_(Plain(dir)) {}
  int Open(const std::string& p, int flags, mode_t mode) override {
    const int fd = FileSystem::Open(p, flags, mode);
    if (fd >= 0) paths_[fd] = Plain(p);
    if (fd >= 0 && (flags & O_CREAT) != 0) unsynced_.insert({Plain(p), Parent(p)});
    return fd;
  }
  ssize_t Write(int fd, const void* p, size_t n) override {
    unsynced_.insert(paths_[fd]);
    return FileSystem::Write(fd, p, n);
  }
  int Fsync(int fd) override {
    unsynced_.erase(paths_[fd]);
    if (paths_[fd] == dir_) durable_ = published_;
    return FileSystem::Fsync(fd);
  }
  int Rename(const std::string& from, const std::string& to) override {
    const std::string a = Plain(from), b = Plain(to);
    const std::string name = fs::path(b).filename();
    if (absl::StartsWith(name, "checkpoint-")) {
      for (const std::string& path : unsynced_) EXPECT_NE(path.substr(0, a.size()), a) << path << " is not on disk";
      published_ = true;
    } else if (Parent(b) == dir_) {
      EXPECT_TRUE(durable_) << "before " << a << " becomes " << b;
    }
    EXPECT_EQ(unsynced_.count(a), 0u) << a << " is renamed before its bytes are on disk";
    unsynced_.insert({Parent(a), Parent(b)});
    return FileSystem::Rename(a, b);
  }
  int Unlink(const std::string& p) override {
    EXPECT_TRUE(durable_) << p;
    return FileSystem::Unlink(p);
  }

 private:
  // "a//b/" and "a/b" are one directory.
  static std::string Plain(const std::string& path) {
    std::string plain = fs::path(path).lexically_normal();
    if (plain.size() > 1 && plain.back() == '/') plain.pop_back();
    return plain;
  }
  static std::string Parent(const std::string& path) { return fs::path(Plain(path)).parent_path(); }
  std::string dir_;
  std::map<int, std::string> paths_;
  std::set<std::string> unsynced_;
  bool published_ = false, durable_ = false;  // the new checkpoint's name, in the directory and on disk
};

TEST(CheckpointOrderTest, NothingIsPublishedBeforeItIsOnDiskNorDeletedBeforeThat) {
  const std::string dir = NewDir();
  ASSERT_TRUE(Save(dir, 1, 1).ok());
  OrderChecker checker(dir);
  ASSERT_TRUE(Save(dir, 2, 1, checker).ok());
  EXPECT_TRUE(fs::exists(dir + "/checkpoint-2"));
  EXPECT_FALSE(fs::exists(dir + "/checkpoint-1"));
}

TEST(CheckpointKillTest, AProcessKilledWhileSavingLeavesAWholeCheckpoint) {
  const std::string dir = NewDir();
  ASSERT_TRUE(Save(dir, 0, 1).ok());
  int64_t reached = 0;
  for (int i = 0; i < 60; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const absl::StatusOr<OutputDirLock> lock = OutputDirLock::Acquire(dir);
      for (int64_t step = reached + 1; lock.ok() && Save(dir, step, 1).ok(); ++step) continue;
      _exit(1);
    }
    ASSERT_GT(child, 0);
    usleep(static_cast<useconds_t>(1000 + i * 137 % 4000));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child could not save";
    const absl::StatusOr<OutputDirLock> lock = OutputDirLock::Acquire(dir);  // the kernel has dropped the child's
    ASSERT_TRUE(lock.ok()) << lock.status();
    ASSERT_TRUE(CleanLeftovers(*lock).ok());
    const absl::StatusOr<FoundCheckpoint> found = FindCheckpoint(dir, "latest");
    ExpectWhole(found);
    ASSERT_GE(found->step, reached);
    reached = found->step;
  }
  EXPECT_GT(reached, 0);
}

}  // namespace
}  // namespace lorikeet
