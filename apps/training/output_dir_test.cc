#include "apps/training/output_dir.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensor/io/file_system.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

std::string NewPath() {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::string dir = absl::StrCat(testing::TempDir(), "/", test->name());
  fs::remove_all(dir);
  return dir;
}

TEST(PrepareOutputDirTest, MakesTheDirectoryAndLeavesItEmpty) {
  const std::string dir = NewPath();
  ASSERT_TRUE(PrepareOutputDir(dir).ok());
  ASSERT_TRUE(PrepareOutputDir(dir + "/").ok()) << "again";
  EXPECT_TRUE(fs::is_empty(dir));
}

TEST(PrepareOutputDirTest, SaysWhatIsInTheWay) {
  const std::string path = NewPath();
  std::ofstream(path) << "a file";
  absl::Status status = PrepareOutputDir(path);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "a file of this name is in the way")) << status;
  EXPECT_EQ(PrepareOutputDir(path + "/below").code(), absl::StatusCode::kInvalidArgument);
  status = PrepareOutputDir(path + ".none/below");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(status.message(), "mkdir -p")) << status;
  EXPECT_EQ(PrepareOutputDir("").code(), absl::StatusCode::kInvalidArgument);
}

struct ReadOnly : FileSystem {
  int Open(const std::string&, int, mode_t) override { return errno = EROFS, -1; }
};
struct Full : FileSystem {
  ssize_t Write(int, const void*, size_t) override { return errno = ENOSPC, -1; }
};
struct Small : FileSystem {
  uint64_t FreeBytes(const std::string&) override { return 1000; }
};

TEST(PrepareOutputDirTest, TriesToWriteBeforeTheModelIsLoaded) {
  const std::string dir = NewPath();
  ReadOnly read_only;
  Full full;
  EXPECT_EQ(PrepareOutputDir(dir, read_only).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(PrepareOutputDir(dir, full).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(fs::is_empty(dir));
}

TEST(CheckFreeSpaceTest, SaysHowMuchIsNeededAndHowMuchThereIs) {
  Small small;
  EXPECT_TRUE(CheckFreeSpace("anywhere", 1000, small).ok());
  const absl::Status status = CheckFreeSpace("anywhere", 1001, small);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), "1001 bytes, 1000 are free")) << status;
}

TEST(OutputDirLockTest, ASecondRunIsRefusedAndToldWhoHoldsIt) {
  const std::string dir = NewPath();
  ASSERT_TRUE(PrepareOutputDir(dir).ok());
  std::optional<absl::StatusOr<OutputDirLock>> first(OutputDirLock::Acquire(dir));
  ASSERT_TRUE(first->ok()) << first->status();
  const absl::Status second = OutputDirLock::Acquire(dir).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(second.message(), absl::StrCat("process ", getpid(), " on "))) << second;
  first.reset();
  EXPECT_TRUE(OutputDirLock::Acquire(dir).ok());
}

TEST(OutputDirLockTest, EndsWithItsProcessHoweverThatEnds) {
  const std::string dir = NewPath();
  ASSERT_TRUE(PrepareOutputDir(dir).ok());
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const absl::StatusOr<OutputDirLock> lock = OutputDirLock::Acquire(dir);
    if (write(ready[1], lock.ok() ? "y" : "n", 1) == 1) pause();
    _exit(1);
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  const absl::Status refused = OutputDirLock::Acquire(dir).status();
  EXPECT_TRUE(absl::StrContains(refused.message(), absl::StrCat("process ", child))) << refused;
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(OutputDirLock::Acquire(dir).ok());
}

}  // namespace
}  // namespace lorikeet
