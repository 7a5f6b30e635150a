#include "apps/model/output_directory.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

void Touch(const std::string& path) { std::ofstream(path) << "text"; }

absl::Status WriteOne(const std::string& path, const std::string& file) {
  absl::StatusOr<std::unique_ptr<OutputDirectory>> out = OutputDirectory::Create(path);
  if (!out.ok()) return out.status();
  Touch((*out)->path() + "/" + file);
  return (*out)->Commit("{}\n");
}

TEST(OutputDirectoryTest, AppearsOnCommitOnly) {
  const std::string dir = FreshPath("out");
  auto out = OutputDirectory::Create(dir + "/");
  ASSERT_TRUE(out.ok()) << out.status();
  Touch((*out)->path() + "/config.json");
  EXPECT_FALSE(fs::exists(dir));
  ASSERT_TRUE((*out)->Commit("{}\n").ok());
  EXPECT_TRUE(fs::exists(dir + "/config.json"));
  EXPECT_TRUE(fs::exists(dir + "/lorikeet.json"));
  EXPECT_FALSE(fs::exists(dir + ".partial"));
}

TEST(OutputDirectoryTest, WithoutCommitNothingIsLeft) {
  const std::string dir = FreshPath("out");
  Touch((*OutputDirectory::Create(dir))->path() + "/config.json");
  EXPECT_FALSE(fs::exists(dir));
  EXPECT_FALSE(fs::exists(dir + ".partial"));
}

TEST(OutputDirectoryTest, AnEarlierOutputIsReplacedWhole) {
  const std::string dir = FreshPath("out");
  ASSERT_TRUE(WriteOne(dir, "model-00001-of-00002.safetensors").ok());
  const absl::Status s = WriteOne(dir, "model.safetensors");
  ASSERT_TRUE(s.ok()) << s;
  EXPECT_TRUE(fs::exists(dir + "/model.safetensors"));
  EXPECT_FALSE(fs::exists(dir + "/model-00001-of-00002.safetensors"));
}

TEST(OutputDirectoryTest, AnEmptyDirectoryIsUsed) {
  const std::string dir = FreshPath("out");
  fs::create_directories(dir);
  EXPECT_TRUE(WriteOne(dir, "config.json").ok());
}

TEST(OutputDirectoryTest, SomebodysFilesAreNotTouched) {
  const std::string dir = FreshPath("out");
  ASSERT_TRUE(WriteOne(dir, "config.json").ok());
  Touch(dir + "/thesis.tex");
  const absl::Status s = WriteOne(dir, "config.json");
  EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(s.message()).find("thesis.tex"), std::string::npos);
  EXPECT_TRUE(fs::exists(dir + "/thesis.tex"));
}

TEST(OutputDirectoryTest, AModelThatCameFromElsewhereIsNotReplaced) {
  const std::string dir = FreshPath("out");
  fs::create_directories(dir);
  Touch(dir + "/config.json");
  EXPECT_EQ(WriteOne(dir, "config.json").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(fs::exists(dir + "/config.json"));
}

TEST(OutputDirectoryTest, AFileInItsPlaceAndAnEmptyNameAreErrors) {
  const std::string path = FreshPath("out");
  Touch(path);
  EXPECT_EQ(WriteOne(path, "config.json").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(WriteOne("", "config.json").code(), absl::StatusCode::kInvalidArgument);
}

TEST(OutputDirectoryTest, WhatAKilledRunLeftIsRemoved) {
  const std::string dir = FreshPath("out");
  fs::create_directories(dir + ".partial");
  Touch(dir + ".partial/model.safetensors");
  ASSERT_TRUE(WriteOne(dir, "config.json").ok());
  EXPECT_FALSE(fs::exists(dir + "/model.safetensors"));
}

}  // namespace
}  // namespace lorikeet
