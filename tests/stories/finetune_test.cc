// The program finetune as a user runs it: what it leaves behind, and how it ends when something is wrong: with the
// documented exit code, a message that says what and where, and nothing half-written.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

constexpr char kGoodRow[] = R"({"prompt": "count to 3", "completion": "123"})";

std::string DataFile(const std::vector<std::string>& rows) {
  const std::string path = FreshPath("rows.jsonl");
  std::ofstream file(path, std::ios::binary);
  for (const std::string& row : rows) file << row << "\n";
  return path;
}

std::string GoodData() { return DataFile(std::vector<std::string>(8, kGoodRow)); }

// What every run of this file shares.
std::string Command(const std::string& model, const std::string& data, const std::string& out) {
  return absl::StrCat("finetune --compute_dtype=f32 --chat_template=plain --max_steps=4 --batch_size=2 --lora_r=2",
                      " --max_seq_length=32 --model=", model, " --data=", data, " --output_dir=", out);
}

// Whatever of a run's result is in the directory.
std::vector<std::string> Results(const std::string& out) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(out, ignored)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, "adapter") || absl::StartsWith(name, "model") || absl::StrContains(name, "checkpoint") ||
        absl::StrContains(name, "tmp")) {
      found.push_back(name);
    }
  }
  return found;
}

nlohmann::json RunInfoOf(const std::string& out) { return nlohmann::json::parse(Contents(out + "/run.json")); }

TEST(FinetuneTest, ARunLeavesWhatItsReadersExpect) {
  const std::string out = FreshPath("run");
  const Outcome o = RunProgram(Command(TinyModel("llama_untied"), GoodData(), out) + " --eval_fraction=0.25");
  ASSERT_EQ(o.code, 0) << o.err;
  for (const char* name : {"adapter_model.safetensors", "adapter_config.json", "metrics.jsonl", "loss.svg", "README.md",
                           "tokenizer.json", "tokenizer_config.json", "run.json", "checkpoint-4"}) {
    EXPECT_TRUE(fs::exists(absl::StrCat(out, "/", name))) << name;
  }
  const nlohmann::json info = RunInfoOf(out);
  EXPECT_EQ(info["status"], "done");
  EXPECT_EQ(info["inputs"]["data"].size(), 1u);
  EXPECT_GE(info["inputs"]["model"].size(), 3u);
  EXPECT_TRUE(absl::StrContains(o.out, "--adapter=" + out)) << "how to try it: " << o.out;
  int steps = 0;
  for (const auto& line : absl::StrSplit(Contents(out + "/metrics.jsonl"), '\n', absl::SkipEmpty())) {
    const nlohmann::json record = nlohmann::json::parse(std::string(line));
    if (!record.contains("grad_norm")) continue;
    ++steps;
    for (const char* key : {"step", "loss", "lr", "tokens", "tokens_per_second", "seconds", "resident_bytes"}) {
      EXPECT_TRUE(record[key].is_number()) << key;
    }
  }
  EXPECT_EQ(steps, 4);
}

TEST(FinetuneTest, FullFineTuningWritesADirectoryThatTrainsOn) {
  const std::string data = GoodData(), first = FreshPath("first"), second = FreshPath("second");
  ASSERT_EQ(RunProgram(Command(TinyModel("llama_tied"), data, first) + " --method=full").code, 0);
  const Outcome o = RunProgram(Command(first, data, second) + " --method=qdora");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(fs::exists(second + "/adapter_model.safetensors"));
}

TEST(FinetuneTest, QloraTrainsToTheBitsOfLoraOverTheDecodedWeights) {
  const std::string model = TinyModel("llama_untied"), data = GoodData();
  const std::string decoded = FreshPath("decoded"), qlora = FreshPath("qlora"), lora = FreshPath("lora");
  const Outcome merged =
      RunProgram(absl::StrCat("merge --load_in_4bit --dtype=f32 --model=", model, " --output_dir=", decoded));
  ASSERT_EQ(merged.code, 0) << merged.err;
  for (const char* dtype : {"f32", "bf16"}) {
    const std::string flags = absl::StrCat(" --compute_dtype=", dtype, " --learning_rate=1e-2");
    fs::remove_all(qlora);
    fs::remove_all(lora);
    ASSERT_EQ(RunProgram(Command(model, data, qlora) + flags + " --method=qlora").code, 0);
    ASSERT_EQ(RunProgram(Command(decoded, data, lora) + flags + " --method=lora").code, 0);
    const std::string adapter = Contents(qlora + "/adapter_model.safetensors");
    EXPECT_FALSE(adapter.empty());
    EXPECT_EQ(adapter, Contents(lora + "/adapter_model.safetensors")) << dtype;
  }
}

TEST(FinetuneTest, DryRunShowsThePlanAndRowsAndWritesNothing) {
  const std::string out = FreshPath("dry");
  const Outcome o = RunProgram(Command(TinyModel("llama_untied"), GoodData(), out) + " --dry_run");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(absl::StrContains(o.out, "trainable")) << o.out;
  EXPECT_TRUE(absl::StrContains(o.out, "[123")) << o.out;
  EXPECT_FALSE(fs::exists(out));
}

// A command's flags after the common ones, and what its message must say.
struct BadInput {
  std::string flags;
  std::vector<std::string> says;
};

TEST(FinetuneTest, BadInputIsExitCode2AndLeavesNothing) {
  const std::string model = TinyModel("llama_untied"), data = GoodData(), file = DataFile({"a file"});
  const BadInput cases[] = {
      {"--model=/nowhere", {"/nowhere", "--model"}},
      {"--data=/nowhere.jsonl", {"/nowhere.jsonl"}},
      {"--data=" + model, {"directory", ".jsonl"}},
      {"--data=" + DataFile({kGoodRow, R"({"foo": 1, "bar": 2})"}), {":2:", "foo", "prompt"}},
      {"--data=" + DataFile({kGoodRow, kGoodRow, R"({"prompt": "a", "completion": )"}), {":3:"}},
      {"--data=" + DataFile({}), {"no row"}},
      {"--output_dir=" + file, {"in the way"}},
      {"--output_dir=/nowhere/out", {"mkdir -p"}},
      {"--output_dir=/proc/out", {"/proc/out"}},
      {"--target_modules=q_porj", {"q_porj", "q_proj"}},
      {"--lora_r=0", {"--lora_r=0", "1 to"}},
      {"--method=lorra", {"lorra", "qlora"}},
      {"--lr_scheduler_type=step", {"step", "cosine"}},
      {"--max_seq_length=100000", {"--max_seq_length=100000", "tokens"}},
      {"--device=cuda", {"--device=cuda"}},
      {"--lora_rank=4", {"lora_rank"}},
      {"--packing False", {"unexpected argument \"False\"", "--packing=false"}},
      {"--max_grad_norm=-1", {"--max_grad_norm=-1", "0 to"}},
      {"--flagfile=no_such.flags", {"no_such.flags"}},
      {"--resume_from_checkpoint=latest", {"checkpoint"}},
      {"--resume_from_checkpoint=/nowhere", {"/nowhere"}},
  };
  for (const BadInput& c : cases) {
    const std::string out = FreshPath("bad");
    const Outcome o = RunProgram(absl::StrCat(Command(model, data, out), " ", c.flags));
    EXPECT_EQ(o.code, 2) << c.flags << "\n" << o.err;
    for (const std::string& s : c.says) EXPECT_TRUE(absl::StrContains(o.err, s)) << c.flags << "\n" << o.err;
    EXPECT_EQ(Results(out), std::vector<std::string>()) << c.flags;
  }
}

TEST(FinetuneTest, ATruncatedModelIsNamed) {
  const std::string model = TinyModel("llama_untied"), out = FreshPath("out");
  const std::string weights = model + "/model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) - 1);
  const Outcome o = RunProgram(Command(model, GoodData(), out));
  EXPECT_EQ(o.code, 2) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, weights)) << o.err;
  EXPECT_EQ(Results(out), std::vector<std::string>());
}

TEST(FinetuneTest, ALossThatIsNoNumberStopsBeforeTheUpdateAndNamesTheStep) {
  const std::string model = TinyModel("llama_untied"), out = FreshPath("out");
  std::fstream file(model + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-64, std::ios::end);
  file << std::string(64, '\xff');  // NaN in f32
  file.close();
  const Outcome o = RunProgram(Command(model, GoodData(), out));
  EXPECT_EQ(o.code, 5) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "step 1") && absl::StrContains(o.err, "nothing was updated")) << o.err;
  EXPECT_EQ(Results(out), std::vector<std::string>());
  EXPECT_EQ(RunInfoOf(out)["status"], "failed");
}

TEST(FinetuneTest, AnExplodingRateStopsWithTheLastCheckpointWhole) {
  const std::string model = TinyModel("llama_untied"), data = GoodData(), out = FreshPath("out");
  const std::string command =
      Command(model, data, out) + " --method=full --save_steps=1 --save_total_limit=9 --lr_scheduler_type=constant";
  const Outcome o = RunProgram(command + " --max_steps=400 --learning_rate=1000 --weight_decay=0.9 --max_grad_norm=0");
  EXPECT_EQ(o.code, 5) << o.err;
  std::vector<std::string> left = Results(out);
  ASSERT_FALSE(left.empty());
  for (const std::string& name : left) EXPECT_TRUE(absl::StartsWith(name, "checkpoint-")) << name;
}

TEST(FinetuneTest, AFullDiskIsExitCode3AndKeepsTheLastWholeCheckpoint) {
  const std::string model = TinyModel("llama_untied"), data = GoodData(), out = FreshPath("out");
  // No file may grow past 4 blocks of 512 bytes; a write beyond is an error, not the end of the process.
  const Outcome o = RunProgram(Command(model, data, out) + " --save_steps=1", "ulimit -f 4; trap '' XFSZ;");
  EXPECT_EQ(o.code, 3) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, out)) << o.err;
  EXPECT_EQ(Results(out), std::vector<std::string>());
}

TEST(FinetuneTest, ADamagedCheckpointIsPassedOverAndTheLastOneLeftIsExitCode4) {
  const std::string model = TinyModel("llama_untied"), data = GoodData(), out = FreshPath("out");
  const std::string command = Command(model, data, out) + " --save_steps=2";
  ASSERT_EQ(RunProgram(command).code, 0);
  const auto damage = [&](const std::string& checkpoint) {
    std::fstream file(out + checkpoint + "/trainable.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file << '\x5a';
  };
  damage("/checkpoint-4");
  Outcome o = RunProgram(command + " --resume_from_checkpoint=latest");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "checkpoint-4")) << o.err;
  EXPECT_TRUE(absl::StrContains(o.out, "2 of 4 steps are done")) << o.out;
  for (const auto& entry : fs::directory_iterator(out)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, "checkpoint-")) damage("/" + name);
  }
  o = RunProgram(command + " --resume_from_checkpoint=latest");
  EXPECT_EQ(o.code, 4) << o.err;
}

TEST(FinetuneTest, ARunIsNotContinuedWithOtherFlagsOrOtherRows) {
  const std::string model = TinyModel("llama_untied"), data = GoodData(), out = FreshPath("out");
  ASSERT_EQ(RunProgram(Command(model, data, out)).code, 0);
  const std::string resume = " --resume_from_checkpoint=latest";
  const std::string moved = DataFile(std::vector<std::string>(8, kGoodRow));
  EXPECT_EQ(RunProgram(Command(model, moved, out) + resume).code, 0) << "the same rows elsewhere";
  const std::string others = DataFile(std::vector<std::string>(8, R"({"prompt": "count to 3", "completion": "124"})"));
  for (const std::string& command :
       {Command(model, others, out), Command(TinyModel("qwen2"), data, out), Command(model, data, out) + " --seed=7",
        Command(model, data, out) + " --lora_alpha=3", Command(model, data, out) + " --target_modules=q_proj"}) {
    const Outcome o = RunProgram(command + resume);
    EXPECT_EQ(o.code, 2) << command << "\n" << o.err;
    EXPECT_TRUE(absl::StrContains(o.err, "another run")) << o.err;
  }
  EXPECT_EQ(RunProgram(Command(model, data, out)).code, 2) << "a second run into the same directory";
}

TEST(FinetuneTest, ASecondRunInTheSameDirectoryIsRefusedWhileTheFirstGoesOn) {
  const std::string model = TinyModel("llama_untied"), data = GoodData(), out = FreshPath("out");
  fs::create_directories(out);
  const Outcome o = RunProgram(Command(model, data, out), absl::StrCat("exec 9>", out, "/.lock; flock 9;"));
  EXPECT_EQ(o.code, 2) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "another run is writing")) << o.err;
}

}  // namespace
}  // namespace lorikeet
