#include "tensor/io/atomic_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tensor/io/file.h"
#include "tensor/io/file_system.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

// Fails the k-th call that can fail, from 1; 0: none. Writes are short, at most `max_write` bytes.
class FaultyFileSystem : public FileSystem {
 public:
  explicit FaultyFileSystem(int fail_at, int error = EIO) : fail_at_(fail_at), error_(error) {}

  int Open(const std::string& path, int flags, mode_t mode) override {
    return Fails("open") ? -1 : FileSystem::Open(path, flags, mode);
  }
  ssize_t Write(int fd, const void* data, size_t bytes) override {
    return Fails("write") ? -1 : FileSystem::Write(fd, data, std::min<size_t>(bytes, 3));
  }
  int Fsync(int fd) override { return Fails("fsync") ? -1 : FileSystem::Fsync(fd); }
  int Close(int fd) override {
    const int closed = FileSystem::Close(fd);  // a descriptor is closed even where close reports an error
    return Fails("close") ? -1 : closed;
  }
  int Rename(const std::string& from, const std::string& to) override {
    return Fails("rename") ? -1 : FileSystem::Rename(from, to);
  }
  uint64_t FreeBytes(const std::string&) override { return free_bytes; }

  const std::vector<std::string>& calls() const { return calls_; }
  bool renamed() const { return std::count(calls_.begin(), calls_.end(), "rename") > 0 && calls_.back() != "rename"; }
  uint64_t free_bytes = 1 << 20;

 private:
  bool Fails(const char* call) {
    calls_.push_back(call);
    if (static_cast<int>(calls_.size()) != fail_at_) return false;
    errno = error_;
    return true;
  }
  int fail_at_, error_;
  std::vector<std::string> calls_;
};

// A fresh directory with a file "f" that holds "old".
class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    ASSERT_TRUE(WriteFileAtomically(path_, "old").ok());
  }
  std::string Content() const { return ReadFileToString(path_, 1 << 20).value_or("(missing)"); }
  int64_t Files() const { return std::distance(fs::directory_iterator(directory_), fs::directory_iterator()); }

  const std::string directory_ = testing::TempDir() + "/atomic", path_ = directory_ + "/f";
};

TEST_F(AtomicFileTest, ReplacesTheWholeFile) {
  ASSERT_TRUE(WriteFileAtomically(path_, "new bytes").ok());
  EXPECT_EQ(Content(), "new bytes");
  EXPECT_EQ(Files(), 1);
}

TEST_F(AtomicFileTest, NothingHappensWithoutCommit) {
  {
    auto file = AtomicFile::Create(path_);
    ASSERT_TRUE(file.ok() && (*file)->Append("new").ok());
    EXPECT_EQ(Files(), 2);
  }
  EXPECT_EQ(Content(), "old");
  EXPECT_EQ(Files(), 1);
}

TEST_F(AtomicFileTest, WhicheverCallFailsTheFileIsOldOrNewAndNothingIsLeftBehind) {
  int failures = 0;
  for (int k = 1;; ++k) {
    ASSERT_TRUE(WriteFileAtomically(path_, "old").ok());
    FaultyFileSystem faulty(k);
    const absl::Status status = WriteFileAtomically(path_, "new bytes", faulty);
    EXPECT_EQ(Files(), 1) << k;
    if (static_cast<int>(faulty.calls().size()) < k) {  // no call was left to fail
      EXPECT_TRUE(status.ok());
      break;
    }
    ++failures;
    EXPECT_EQ(Content(), faulty.renamed() ? "new bytes" : "old") << k;
    // All but the last close, of the directory, matter.
    EXPECT_EQ(status.ok(), k == 10) << k << " " << status;
  }
  EXPECT_EQ(failures, 10);  // open, 3 writes, fsync, close, rename; open, fsync, close of the directory
}

TEST_F(AtomicFileTest, BytesAreSyncedBeforeTheRenameAndTheDirectoryAfterIt) {
  FaultyFileSystem recorder(0);
  ASSERT_TRUE(WriteFileAtomically(path_, "abc", recorder).ok());
  EXPECT_EQ(recorder.calls(),
            (std::vector<std::string>{"open", "write", "fsync", "close", "rename", "open", "fsync", "close"}));
}

TEST_F(AtomicFileTest, AnInterruptedWriteGoesOn) {
  FaultyFileSystem interrupted(2, EINTR);
  EXPECT_TRUE(WriteFileAtomically(path_, "new bytes", interrupted).ok());
  EXPECT_EQ(Content(), "new bytes");
}

TEST_F(AtomicFileTest, AFullDiskSaysHowMuchIsNeededAndFree) {
  FaultyFileSystem full(3, ENOSPC);
  full.free_bytes = 42;
  auto file = AtomicFile::Create(path_, 0, full);
  ASSERT_TRUE(file.ok());
  const absl::Status status = (*file)->Append("0123456789");
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "7 bytes needed, 42 free")) << status;
}

TEST_F(AtomicFileTest, WhatCannotFitIsRefusedBeforeAnyWrite) {
  FaultyFileSystem full(0);
  full.free_bytes = 42;
  const absl::Status status = AtomicFile::Create(path_, 43, full).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "43 bytes needed, 42 free")) << status;
  EXPECT_TRUE(full.calls().empty());
}

TEST_F(AtomicFileTest, ALinkIsReplacedNotFollowed) {
  const std::string link = directory_ + "/link";
  fs::create_symlink(path_, link);
  ASSERT_TRUE(WriteFileAtomically(link, "new").ok());
  EXPECT_FALSE(fs::is_symlink(link));
  EXPECT_EQ(Content(), "old");
}

TEST_F(AtomicFileTest, NewFilesFollowTheUmask) {
  const mode_t before = ::umask(022);
  ASSERT_TRUE(WriteFileAtomically(path_, "new").ok());
  ::umask(before);
  EXPECT_EQ(static_cast<int>(fs::status(path_).permissions()), 0644);
}

TEST_F(AtomicFileTest, ADirectoryThatIsMissingOrAFileIsAnInputError) {
  EXPECT_TRUE(absl::IsNotFound(WriteFileAtomically(directory_ + "/none/f", "x")));
  EXPECT_TRUE(absl::IsInvalidArgument(WriteFileAtomically(path_ + "/f", "x")));
  EXPECT_TRUE(absl::IsInvalidArgument(WriteFileAtomically(directory_ + "/", "x")));
  fs::create_directory(directory_ + "/sub");
  EXPECT_TRUE(absl::IsInvalidArgument(WriteFileAtomically(directory_ + "/sub", "x")));
  EXPECT_EQ(Files(), 2);
}

}  // namespace
}  // namespace lorikeet
