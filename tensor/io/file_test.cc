#include "tensor/io/file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tensor/io/checked_size.h"
#include "tensor/io/file_system.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

std::string FileWith(const std::string& name, const std::string& bytes) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

// Reads at most two bytes a call, and is interrupted before each.
class Stuttering : public FileSystem {
 public:
  ssize_t PRead(int fd, void* out, size_t bytes, uint64_t offset) override {
    if ((interrupted_ = !interrupted_)) return errno = EINTR, -1;
    return FileSystem::PRead(fd, out, std::min<size_t>(bytes, 2), offset);
  }

 private:
  bool interrupted_ = false;
};

class Broken : public FileSystem {
 public:
  ssize_t PRead(int, void*, size_t, uint64_t) override { return errno = EIO, -1; }
};

TEST(FileTest, ShortAndInterruptedReadsGoOn) {
  Stuttering stuttering;
  auto file = OpenFile(FileWith("file", "0123456789"), stuttering);
  ASSERT_TRUE(file.ok()) << file.status();
  std::string out(7, '\0');
  ASSERT_TRUE((*file)->Read(2, &out[0], out.size()).ok());
  EXPECT_EQ(out, "2345678");
}

TEST(FileTest, AReadPastTheEndOrFromABrokenDiskIsDataLoss) {
  char out[4];
  auto file = OpenFile(FileWith("file", "0123456789"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(absl::IsDataLoss((*file)->Read(7, out, 4)));
  Broken broken;
  EXPECT_TRUE(absl::IsDataLoss((*OpenFile((*file)->path(), broken))->Read(0, out, 4)));
}

TEST(FileTest, OnlyRegularFilesAreOpened) {
  const std::string fifo = testing::TempDir() + "/fifo";
  ::mkfifo(fifo.c_str(), 0600);
  EXPECT_TRUE(absl::IsNotFound(OpenFile(testing::TempDir() + "/none").status()));
  for (const std::string& path : {fifo, testing::TempDir(), std::string("/dev/zero")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(OpenFile(path).status())) << path;
  }
}

TEST(FileTest, WholeFilesAreLimited) {
  const std::string path = FileWith("file", "0123456789");
  EXPECT_EQ(*ReadFileToString(path, 10), "0123456789");
  EXPECT_TRUE(absl::IsInvalidArgument(ReadFileToString(path, 9).status()));
}

TEST(DirectoryTest, OpensPlainNamesOfRegularFilesOnly) {
  FileWith("plain", "x");
  FileWith("target", "x");
  const fs::path root = testing::TempDir();
  fs::remove(root / "link");
  fs::create_symlink("target", root / "link");
  fs::create_directories(root / "sub");
  ::mkfifo((root / "fifo").c_str(), 0600);
  auto directory = Directory::Open(root.string());
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_TRUE((*directory)->OpenFile("plain").ok());
  EXPECT_TRUE(absl::IsNotFound((*directory)->OpenFile("none").status()));
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../plain"), std::string("sub/../plain"),
        (root / "plain").string(), std::string("a\\b"), std::string("plain\0x", 7), std::string(256, 'a'),
        std::string("link"), std::string("sub"), std::string("fifo")}) {
    EXPECT_TRUE(absl::IsInvalidArgument((*directory)->OpenFile(name).status())) << name;
  }
}

TEST(DirectoryTest, FollowsTheLinksOfTheHuggingFaceCacheAndNoOther) {
  const fs::path root = fs::path(testing::TempDir()) / "models--a--b", snapshot = root / "snapshots" / "1f";
  fs::remove_all(root);
  fs::create_directories(snapshot);
  fs::create_directories(root / "blobs");
  std::ofstream(root / "blobs" / "0aFf") << "blob";
  std::ofstream(root / "blobs" / "named") << "x";
  fs::create_symlink("0aFf", root / "blobs" / "11");
  const auto link = [&](const std::string& name, const fs::path& target) {
    fs::create_symlink(target, snapshot / name);
    return name;
  };
  auto directory = Directory::Open(snapshot.string());
  ASSERT_TRUE(directory.ok()) << directory.status();
  const auto file = (*directory)->OpenFile(link("weights", "../../blobs/0aFf"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->size(), 4u);
  EXPECT_TRUE(absl::IsNotFound((*directory)->OpenFile(link("gone", "../../blobs/22")).status()));
  for (const std::string& name :
       {link("named", "../../blobs/named"), link("absolute", root / "blobs" / "0aFf"), link("twice", "../../blobs/11"),
        link("up", "../../blobs/../blobs/0aFf"), link("elsewhere", "../../../blobs/0aFf"),
        link("empty", "../../blobs/"), link("beside", "weights")}) {
    EXPECT_TRUE(absl::IsInvalidArgument((*directory)->OpenFile(name).status())) << name;
  }
}

TEST(QuotedTest, TextFromAFileIsEscapedAndShortened) {
  EXPECT_EQ(Quoted("a\x1b\xC3\xA9\xFF"), "\"a\\x1b\\xc3\\xa9\\xff\"");
  EXPECT_LT(Quoted(std::string(1 << 20, 'x')).size(), 200u);
}

TEST(CheckedSizeTest, NothingWrapsAround) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  uint64_t out = 0;
  EXPECT_TRUE(CheckedMul(kMax / 2, 2, &out) && out == kMax - 1);
  EXPECT_FALSE(CheckedMul(kMax / 2 + 1, 2, &out));
  EXPECT_TRUE(CheckedAdd(kMax - 1, 1, &out) && out == kMax);
  EXPECT_FALSE(CheckedAdd(kMax, 1, &out));
  EXPECT_TRUE(CheckedAlignUp(33, 32, &out) && out == 64);
  EXPECT_TRUE(CheckedAlignUp(kMax - 31, 32, &out) && out == kMax - 31);
  EXPECT_FALSE(CheckedAlignUp(kMax - 30, 32, &out));
}

}  // namespace
}  // namespace lorikeet
