#include "apps/model/zstd_file.h"

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

std::string Text() {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * i);
  return text;
}

std::string Path(const char* name) { return std::string(testing::TempDir()) + "/" + name; }

// What is left of `path` when its bytes are changed by `change`.
template <typename F>
absl::Status OpenChanged(const char* name, F change) {
  const std::string path = Path(name);
  EXPECT_TRUE(WriteZstdFile(path, Text()).ok());
  std::string bytes = *ReadFileToString(path, 1 << 20);
  change(bytes);
  EXPECT_TRUE(WriteFileAtomically(path, bytes).ok());
  return OpenZstdFile(path, 1 << 20).status();
}

TEST(ZstdFileTest, ReadsWhatWasWrittenAtAnyOffset) {
  const std::string path = Path("whole.zst"), text = Text();
  ASSERT_TRUE(WriteZstdFile(path, text).ok());
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenZstdFile(path, 1 << 20);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->size(), text.size());
  std::string part(100, ' ');
  ASSERT_TRUE((*file)->Read(777, part.data(), part.size()).ok());
  EXPECT_EQ(part, text.substr(777, 100));
}

TEST(ZstdFileTest, ReadingPastTheEndIsDataLoss) {
  const std::string path = Path("end.zst"), text = Text();
  ASSERT_TRUE(WriteZstdFile(path, text).ok());
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenZstdFile(path, 1 << 20);
  ASSERT_TRUE(file.ok());
  char out[2];
  EXPECT_TRUE(absl::IsDataLoss((*file)->Read(text.size() - 1, out, 2)));
  EXPECT_TRUE(absl::IsDataLoss((*file)->Read(UINT64_MAX, out, 2)));
}

TEST(ZstdFileTest, AFileLargerThanAllowedIsRefusedBeforeItIsDecoded) {
  const std::string path = Path("large.zst");
  ASSERT_TRUE(WriteZstdFile(path, std::string(1 << 20, 'x')).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(OpenZstdFile(path, (1 << 20) - 1).status()));
}

TEST(ZstdFileTest, AFileCutShortIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(OpenChanged("cut.zst", [](std::string& b) { b.resize(b.size() / 2); })));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenChanged("empty.zst", [](std::string& b) { b.clear(); })));
}

TEST(ZstdFileTest, BytesBehindTheFrameAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(OpenChanged("more.zst", [](std::string& b) { b += "more"; })));
}

TEST(ZstdFileTest, AChangedByteIsNoticed) {
  EXPECT_FALSE(OpenChanged("changed.zst", [](std::string& b) { b[b.size() / 2] ^= 1; }).ok());
}

}  // namespace
}  // namespace lorikeet
