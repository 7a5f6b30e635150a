#include "optim/page_file.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

int EntriesOf(const std::string& directory) {
  int entries = 0;
  DIR* const dir = opendir(directory.c_str());
  while (const dirent* e = readdir(dir)) entries += std::string(e->d_name) != "." && std::string(e->d_name) != "..";
  closedir(dir);
  return entries;
}

std::string FreshDirectory(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  EXPECT_EQ(mkdir(path.c_str(), 0700), 0);
  return path;
}

TEST(PageFile, WhatWasWrittenIsRead) {
  auto file = CreateTemporaryPageFile(testing::TempDir(), 10000);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Write(5000, absl::MakeConstSpan("pages", 5)).ok());
  char read[5] = {};
  ASSERT_TRUE((*file)->Read(5000, absl::MakeSpan(read)).ok());
  EXPECT_EQ(std::string(read, 5), "pages");
}

TEST(PageFile, HasNoNameEvenWhileItIsOpen) {
  const std::string directory = FreshDirectory("nameless");
  auto file = CreateTemporaryPageFile(directory, 10000);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(EntriesOf(directory), 0);
}

TEST(PageFile, ReadingBeyondItsEndIsDataLoss) {
  auto file = CreateTemporaryPageFile(testing::TempDir(), 100);
  ASSERT_TRUE(file.ok()) << file.status();
  char read[8];
  EXPECT_EQ((*file)->Read(96, absl::MakeSpan(read)).code(), absl::StatusCode::kDataLoss);
}

TEST(PageFile, ADiskThatIsTooSmallIsFoundAtOnce) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 1 << 20;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto file = CreateTemporaryPageFile(testing::TempDir(), 2 << 20);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(file.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(file.status().message()).find(testing::TempDir()), std::string::npos);
}

TEST(PageFile, ADirectoryThatIsNotThereIsNamed) {
  const auto file = CreateTemporaryPageFile(testing::TempDir() + "/missing", 100);
  EXPECT_EQ(file.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(file.status().message()).find("/missing"), std::string::npos);
}

}  // namespace
}  // namespace lorikeet
