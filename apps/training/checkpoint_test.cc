#include "apps/training/checkpoint.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/training/checkpoint_manifest.h"
#include "apps/training/output_dir.h"
#include "apps/training/sha256.h"
#include "gtest/gtest.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

std::string NewDir() {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::string dir = absl::StrCat(testing::TempDir(), "/", test->name());
  fs::remove_all(dir);
  fs::create_directories(dir);
  return dir;
}

absl::Status Save(const std::string& dir, int64_t step, const CommitOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<CheckpointWriter>> writer = CheckpointWriter::Create(dir, step);
  if (!writer.ok()) return writer.status();
  absl::Status status = (*writer)->WriteFile("adapter.bin", std::string(300, static_cast<char>('a' + step % 26)));
  if (status.ok()) status = (*writer)->WriteFile("state.json", absl::StrCat("{\"step\": ", step, "}"));
  return status.ok() ? (*writer)->Commit(options) : status;
}

std::string Text(const std::string& path) { return ReadFileToString(path, 1 << 20).value_or("<unreadable>"); }
void Overwrite(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string WithoutSpace(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(), absl::ascii_isspace), text.end());
  return text;
}

// Names of checkpoints and marks, but not the lock.
std::vector<std::string> Listing(const std::string& dir) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir)) {
    if (entry.path().filename() != ".lock") names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}
using Names = std::vector<std::string>;

TEST(CheckpointTest, WhatIsCommittedIsFound) {
  const std::string dir = NewDir();
  ASSERT_TRUE(Save(dir, 7).ok());
  const absl::StatusOr<FoundCheckpoint> found = FindCheckpoint(dir, "latest");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->path, dir + "/checkpoint-7");
  EXPECT_EQ(found->step, 7);
  EXPECT_TRUE(found->warnings.empty());
  EXPECT_EQ(Text(found->path + "/state.json"), "{\"step\": 7}");
  EXPECT_EQ(Text(dir + "/latest"), "checkpoint-7\n");
  EXPECT_EQ(Listing(dir), (Names{"checkpoint-7", "latest"}));
}

TEST(CheckpointTest, AWriterThatIsDroppedLeavesNothing) {
  const std::string dir = NewDir();
  {
    absl::StatusOr<std::unique_ptr<CheckpointWriter>> writer = CheckpointWriter::Create(dir, 1);
    ASSERT_TRUE(writer.ok() && (*writer)->WriteFile("a", "b").ok());
    EXPECT_EQ(Listing(dir).size(), 1u);
  }
  EXPECT_TRUE(Listing(dir).empty());
  EXPECT_EQ(FindCheckpoint(dir, "latest").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(HasCheckpoints(dir));
}

TEST(CheckpointTest, CanBeNamedByPathByNameOrAsTheBest) {
  const std::string dir = NewDir();
  ASSERT_TRUE(Save(dir, 5, {.best = true}).ok());
  ASSERT_TRUE(Save(dir, 10).ok());
  EXPECT_EQ(FindCheckpoint(dir, "best")->step, 5);
  EXPECT_EQ(FindCheckpoint(dir, "checkpoint-5")->step, 5);
  EXPECT_EQ(FindCheckpoint("elsewhere", dir + "/checkpoint-10")->step, 10);
  EXPECT_EQ(FindCheckpoint(dir, "checkpoint-6").status().code(), absl::StatusCode::kNotFound);
}

TEST(CheckpointTest, RotationKeepsTheNewestAndTheBest) {
  const std::string dir = NewDir();
  for (int step = 1; step <= 9; ++step) ASSERT_TRUE(Save(dir, step, {.save_total_limit = 3, .best = step == 4}).ok());
  EXPECT_EQ(Listing(dir), (Names{"best", "checkpoint-4", "checkpoint-8", "checkpoint-9", "latest"}));
  ASSERT_TRUE(Save(dir, 10, {.save_total_limit = 1}).ok());
  EXPECT_EQ(Listing(dir), (Names{"best", "checkpoint-10", "checkpoint-4", "latest"}));
}

TEST(CheckpointTest, ARunContinuedFromAnEarlierCheckpointOwnsTheNewest) {
  const std::string dir = NewDir();
  for (int step : {10, 20, 30}) ASSERT_TRUE(Save(dir, step).ok());
  ASSERT_TRUE(Save(dir, 15).ok());  // after going back to 10
  EXPECT_EQ(FindCheckpoint(dir, "latest")->step, 15);
  ASSERT_TRUE(Save(dir, 20, {.save_total_limit = 2}).ok());  // takes the place of the old branch's
  EXPECT_EQ(Listing(dir), (Names{"checkpoint-15", "checkpoint-20", "latest"}));
}

TEST(CheckpointTest, ADamagedCheckpointIsPassedOverWithItsFileNamed) {
  const std::string dir = NewDir();
  for (int step : {1, 2}) ASSERT_TRUE(Save(dir, step).ok());
  fs::resize_file(dir + "/checkpoint-2/adapter.bin", 299);
  absl::StatusOr<FoundCheckpoint> found = FindCheckpoint(dir, "latest");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->step, 1);
  ASSERT_EQ(found->warnings.size(), 1u);
  EXPECT_TRUE(absl::StrContains(found->warnings[0], "checkpoint-2/adapter.bin has 299 bytes, expected 300"));
  fs::remove(dir + "/checkpoint-1/" + kManifestName);
  const absl::Status status = FindCheckpoint(dir, "latest").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "checkpoint-1/MANIFEST.json is missing")) << status;
  EXPECT_EQ(FindCheckpoint(dir, "checkpoint-2").status().code(), absl::StatusCode::kDataLoss);
}

// Every byte of every file, with one bit or all of them changed, and every length that is too short.
TEST(CheckpointTest, EveryFlippedByteAndEveryTruncationIsNoticed) {
  const std::string dir = NewDir();
  ASSERT_TRUE(Save(dir, 3).ok());
  int noticed = 0, tried = 0;
  for (const std::string name : {"adapter.bin", "state.json", kManifestName}) {
    const std::string path = absl::StrCat(dir, "/checkpoint-3/", name), original = Text(path);
    for (size_t i = 0; i < original.size(); ++i) {
      for (int flip : {1 << (i % 8), 0xff, -1}) {  // -1: truncate here
        std::string bytes = original;
        if (flip < 0) bytes.resize(i);
        if (flip >= 0) bytes[i] = static_cast<char>(bytes[i] ^ flip);
        if (name == kManifestName && WithoutSpace(bytes) == WithoutSpace(original)) continue;  // says the same
        Overwrite(path, bytes);
        ++tried;
        noticed += FindCheckpoint(dir, "latest").status().code() == absl::StatusCode::kDataLoss;
      }
    }
    Overwrite(path, original);
  }
  EXPECT_EQ(noticed, tried);
  EXPECT_GT(tried, 1500);
  EXPECT_TRUE(FindCheckpoint(dir, "latest").ok());
}

TEST(CheckpointTest, AManifestCannotNameFilesOutsideItsCheckpoint) {
  for (const char* name : {"../secret", "/etc/passwd", "..", ""}) {
    CheckpointManifest manifest{.step = 1, .commit = 1, .files = {{name, {1, std::string(64, '0')}}}};
    EXPECT_EQ(ParseManifest(ToJson(manifest)).status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

TEST(CheckpointTest, ANewerFormatIsRefusedNotSkipped) {
  const std::string dir = NewDir();
  ASSERT_TRUE(Save(dir, 1).ok());
  fs::create_directory(dir + "/checkpoint-2");
  const std::string body = R"({"commit":9,"files":{},"format":"lorikeet-checkpoint","step":2,"version":2)";
  Sha256 hash;
  hash.Update(body + "}");
  Overwrite(dir + "/checkpoint-2/MANIFEST.json", absl::StrCat(body, ",\"sha256\":\"", hash.Hex(), "\"}"));
  const absl::Status status = FindCheckpoint(dir, "latest").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(absl::StrContains(status.message(), "version is 2")) << status;
}

TEST(CheckpointTest, LeftoversOfAKilledRunAreCleanedAndNothingElse) {
  const std::string dir = NewDir();
  ASSERT_TRUE(Save(dir, 1).ok());
  ASSERT_TRUE(Save(dir, 2).ok());
  fs::create_directory(dir + "/tmp-checkpoint-3.1-0");
  Overwrite(dir + "/tmp-checkpoint-3.1-0/adapter.bin", "half");
  Overwrite(dir + "/.latest.1-0.tmp", "check");
  Overwrite(dir + "/notes.txt", "mine");
  fs::rename(dir + "/checkpoint-2", dir + "/checkpoint-2.replaced");
  const absl::StatusOr<OutputDirLock> lock = OutputDirLock::Acquire(dir);
  ASSERT_TRUE(lock.ok() && CleanLeftovers(*lock).ok());
  EXPECT_EQ(Listing(dir), (Names{"checkpoint-1", "checkpoint-2", "latest", "notes.txt"}));
  EXPECT_EQ(FindCheckpoint(dir, "latest")->step, 2);
}

TEST(CheckpointTest, LinksAreNeitherFollowedNorDeletedThrough) {
  const std::string dir = NewDir();
  fs::create_directory(dir + "/precious");
  Overwrite(dir + "/precious/file", "kept");
  fs::create_directory_symlink(dir + "/precious", dir + "/checkpoint-1");
  fs::create_directory_symlink(dir + "/precious", dir + "/tmp-checkpoint-9.1-1");
  fs::create_symlink(dir + "/precious/file", dir + "/latest");
  for (int step : {2, 3}) ASSERT_TRUE(Save(dir, step, {.save_total_limit = 1}).ok());
  const absl::StatusOr<OutputDirLock> lock = OutputDirLock::Acquire(dir);
  ASSERT_TRUE(lock.ok() && CleanLeftovers(*lock).ok());
  EXPECT_EQ(Text(dir + "/precious/file"), "kept");
  EXPECT_EQ(Text(dir + "/latest"), "checkpoint-3\n");
  EXPECT_EQ(Listing(dir), (Names{"checkpoint-1", "checkpoint-3", "latest", "precious"}));
}

TEST(CheckpointDeathTest, ANameWithASlashIsOurBug) {
  const std::string dir = NewDir();
  absl::StatusOr<std::unique_ptr<CheckpointWriter>> writer = CheckpointWriter::Create(dir, 1);
  ASSERT_TRUE(writer.ok());
  EXPECT_DEATH((*writer)->Path("../a"), "is no name for a file of a checkpoint");
  EXPECT_DEATH((*writer)->Path(kManifestName), "is no name for a file of a checkpoint");
}

}  // namespace
}  // namespace lorikeet
