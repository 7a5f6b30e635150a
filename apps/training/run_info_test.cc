#include "apps/training/run_info.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace lorikeet {
namespace {

TEST(RunInfoTest, TimesAreUtcInIso8601) {
  EXPECT_EQ(UtcTime(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(UtcTime(951782400), "2000-02-29T00:00:00Z");
}

TEST(RunInfoTest, KnowsItsMachine) {
  const MachineInfo machine = ThisMachine();
  EXPECT_GT(machine.processors, 0);
  EXPECT_GT(machine.memory_bytes, 1 << 20);
  EXPECT_FALSE(machine.cpu.empty() || machine.compiler.empty() || machine.system.empty());
}

TEST(RunInfoTest, ADirectoryIsTheFilesThatAModelIsReadFrom) {
  const std::string dir = testing::TempDir() + "/model";
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir + "/sub");
  std::ofstream(dir + "/rows.txt") << "abc";
  std::ofstream(dir + "/config.json") << "{}";
  std::ofstream(dir + "/model.safetensors") << "";
  const auto model = DigestsOf(dir), rows = DigestsOf(dir + "/rows.txt");
  ASSERT_TRUE(model.ok() && rows.ok()) << model.status() << rows.status();
  EXPECT_EQ(model->size(), 2u);
  EXPECT_EQ(model->count("config.json") + model->count("model.safetensors"), 2u);
  EXPECT_EQ(rows->at("rows.txt").sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(absl::IsNotFound(DigestsOf(dir + "/none").status()));
}

TEST(RunInfoTest, IsJsonWhateverTheFlagsHold) {
  RunInfo info;
  info.program = "finetune";
  info.flags = {{"model", "a \"quoted\" path\n"}, {"data", "\xff.jsonl"}};
  info.inputs["data"]["x"] = {3, "00"};
  const nlohmann::json object = nlohmann::json::parse(ToJson(info));
  EXPECT_EQ(object["flags"]["model"], "a \"quoted\" path\n");
  EXPECT_EQ(object["inputs"]["data"]["x"]["bytes"], 3);
  EXPECT_TRUE(object["ended"].is_null());
  EXPECT_EQ(object["status"], "running");
}

}  // namespace
}  // namespace lorikeet
