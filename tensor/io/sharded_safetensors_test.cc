#include "tensor/io/sharded_safetensors.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/io/safetensors_writer.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

// A directory with shards "s1" (a, b) and "s2" (c).
class ShardedTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    Shard("s1", {"a", "b"});
    Shard("s2", {"c"});
  }
  void Shard(const std::string& file, const std::vector<std::string>& names) {
    std::vector<std::pair<std::string, Tensor>> tensors;
    for (const std::string& name : names) tensors.push_back({name, Tensor::Full({1}, name[0], DType::kI32)});
    ASSERT_TRUE(WriteSafetensors(directory_ + "/" + file, tensors, {}).ok());
  }
  absl::StatusOr<std::unique_ptr<ShardedSafetensors>> OpenJson(const std::string& json) {
    std::ofstream(directory_ + "/model.safetensors.index.json", std::ios::binary) << json;
    return ShardedSafetensors::Open(directory_);
  }
  testing::AssertionResult Refused(const std::string& json, const std::string& because) {
    const absl::Status status = OpenJson(json).status();
    if (absl::IsInvalidArgument(status) && absl::StrContains(status.message(), because)) {
      return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << status;
  }
  // "a" and "b" in s1, "c" in `shard`.
  static std::string Json(const std::string& shard) {
    return absl::StrCat(R"({"metadata":{"total_size":12,"x":[{}]},"weight_map":{"a":"s1","b":"s1","c":")", shard,
                        "\"}}");
  }

  const std::string directory_ = testing::TempDir() + "/sharded";
};

TEST_F(ShardedTest, ReadsFromEveryShard) {
  const auto model = OpenJson(Json("s2"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->tensors().size(), 3u);
  EXPECT_EQ((*model)->Read("a")->item(), 'a');
  EXPECT_EQ((*model)->Read("c")->item(), 'c');
  EXPECT_TRUE(absl::IsNotFound((*model)->Read("d").status()));
}

TEST_F(ShardedTest, AShardIsAPlainFileNameOfARegularFile) {
  fs::create_symlink("s2", directory_ + "/link");
  fs::create_directory(directory_ + "/sub");
  ::mkfifo((directory_ + "/fifo").c_str(), 0600);
  fs::copy_file(directory_ + "/s2", testing::TempDir() + "/outside", fs::copy_options::overwrite_existing);
  for (const std::string& shard : {std::string(""), std::string(".."), std::string("../outside"), directory_ + "/s2",
                                   std::string("sub/../s2"), std::string("s2\\u0000"), std::string("..\\\\outside"),
                                   std::string("link"), std::string("sub"), std::string("fifo")}) {
    EXPECT_TRUE(Refused(Json(shard), "")) << shard;
  }
  EXPECT_TRUE(absl::IsNotFound(OpenJson(Json("none")).status()));
}

TEST_F(ShardedTest, ATensorIsInTheShardThatTheIndexNames) {
  EXPECT_TRUE(Refused(Json("s1"), "\"c\" is not in "));
  EXPECT_TRUE(Refused(R"({"weight_map":{"a":"s1","b":"s1","c":"s2","d":"s2"}})", "\"d\" is not in "));
}

TEST_F(ShardedTest, NoTensorIsInTwoShards) {
  Shard("s2", {"a", "c"});
  EXPECT_TRUE(Refused(Json("s2"), "\"a\" is in two shards"));
}

TEST_F(ShardedTest, TensorsThatTheIndexLeavesOutAreReported) {
  const auto model = OpenJson(R"({"weight_map":{"a":"s1"}})");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->unlisted(), std::vector<std::string>{"b"});
  EXPECT_EQ((*model)->Find("b"), nullptr);
}

TEST_F(ShardedTest, TheIndexIsAnObjectWithOneMapOfStrings) {
  EXPECT_TRUE(Refused("{}", "no weight_map"));
  EXPECT_TRUE(Refused("[]", "expected"));
  EXPECT_TRUE(Refused("3", "expected"));
  EXPECT_TRUE(Refused("{", "JSON"));
  EXPECT_TRUE(Refused(R"({"weight_map":["a"]})", "not an object"));
  EXPECT_TRUE(Refused(R"({"weight_map":{"a":1}})", "not a string"));
  EXPECT_TRUE(Refused(R"({"weight_map":{"a":{"b":"s1"}}})", "not a string"));
  EXPECT_TRUE(Refused(R"({"weight_map":{"a":"s1","\u0061":"s1"}})", "occurs twice"));
  EXPECT_TRUE(Refused(R"({"weight_map":{},"weight_map":{}})", "second weight_map"));
  EXPECT_TRUE(Refused("{\"x\":" + std::string(1 << 20, '['), "nested deeper"));
}

TEST_F(ShardedTest, ADirectoryHasAnIndexOrOneFile) {
  EXPECT_TRUE(absl::StrContains(OpenSafetensorsDirectory(directory_).status().message(), "neither model.safetensors"));
  Shard("model.safetensors", {"w"});
  EXPECT_EQ((*OpenSafetensorsDirectory(directory_))->tensors()[0].name, "w");
  ASSERT_TRUE(OpenJson(Json("s2")).ok());
  EXPECT_EQ((*OpenSafetensorsDirectory(directory_))->tensors()[0].name, "a");
  EXPECT_TRUE(absl::IsNotFound(OpenSafetensorsDirectory(directory_ + "/none").status()));
}

}  // namespace
}  // namespace lorikeet
