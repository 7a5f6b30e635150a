// A run that is killed at every step and resumed each time ends with the same bits as one that was left alone.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

constexpr int kSteps = 20;

// Rows with answers of unequal length.
std::string WriteRows() {
  const std::string path = FreshPath("rows.jsonl");
  std::ofstream file(path);
  for (int i = 0; i < 40; ++i) {
    file << absl::StrCat("{\"prompt\": \"count to ", i, "\", \"completion\": \"",
                         std::string(static_cast<size_t>(1 + i % 7), 'x'), "\"}\n");
  }
  return path;
}

class Finetune {
 public:
  Finetune(const std::string& model, const std::string& rows, const std::string& method,
           const std::string& optim = "adamw")
      : model_(model), rows_(rows), method_(method), optim_(optim) {}

  pid_t Start(const std::string& out, bool resume) const {
    std::vector<std::string> args = {"apps/finetune",         "--model=" + model_,
                                     "--data=" + rows_,       "--method=" + method_,
                                     "--output_dir=" + out,   absl::StrCat("--max_steps=", kSteps),
                                     "--batch_size=2",        "--gradient_accumulation_steps=2",
                                     "--max_seq_length=32",   absl::StrCat("--lora_r=", Rank()),
                                     "--lora_dropout=0.1",    "--learning_rate=1e-2",
                                     "--chat_template=plain", "--compute_dtype=f32",
                                     "--save_steps=1",        "--save_total_limit=2",
                                     "--optim=" + optim_};
    if (resume) args.push_back("--resume_from_checkpoint=latest");
    const pid_t pid = fork();
    if (pid == 0) {
      std::vector<char*> argv;
      for (std::string& a : args) argv.push_back(a.data());
      argv.push_back(nullptr);
      if (freopen("/dev/null", "w", stdout) == nullptr) _exit(126);
      execv(argv[0], argv.data());
      _exit(127);
    }
    return pid;
  }

 private:
  // Moments are kept in 8 bits from 4096 elements on: 128 x 32, but not for every matrix.
  int Rank() const { return absl::EndsWith(optim_, "_8bit") ? 128 : 4; }

  std::string model_, rows_, method_, optim_;
};

int WaitFor(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool HasStep(const std::string& out, int step) {
  return Contents(out + "/metrics.jsonl").find(absl::StrCat("\"step\":", step, ",\"loss\"")) != std::string::npos ||
         Contents(out + "/metrics.jsonl").find(absl::StrCat("\"step\": ", step, ", \"loss\"")) != std::string::npos;
}

bool HasCheckpoint(const std::string& out) { return std::filesystem::exists(out + "/latest"); }

// Method and optimizer.
class ResumeTest : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(ResumeTest, KilledAtEveryStepTheRunEndsWithTheSameBits) {
  const std::string model = TinyModel("llama_untied"), rows = WriteRows();
  const auto& [method, optim] = GetParam();
  const Finetune finetune(model, rows, method, optim);
  const std::string calm = FreshPath("calm"), killed = FreshPath("killed");
  ASSERT_EQ(WaitFor(finetune.Start(calm, false)), 0);
  int kills = 0;
  for (int step = 1; step < kSteps; ++step) {
    const pid_t pid = finetune.Start(killed, HasCheckpoint(killed));
    while (!HasStep(killed, step) && waitpid(pid, nullptr, WNOHANG) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    kills += kill(pid, SIGKILL) == 0;
    waitpid(pid, nullptr, 0);
  }
  EXPECT_GE(kills, kSteps / 2);
  ASSERT_EQ(WaitFor(finetune.Start(killed, HasCheckpoint(killed))), 0);
  const std::string want = Contents(calm + "/adapter_model.safetensors");
  ASSERT_FALSE(want.empty());
  EXPECT_EQ(Contents(killed + "/adapter_model.safetensors"), want);
}

INSTANTIATE_TEST_SUITE_P(Methods, ResumeTest,
                         testing::Values(std::pair("lora", "adamw"), std::pair("qdora", "adamw"),
                                         std::pair("lora", "adamw_8bit"), std::pair("dora", "paged_adamw_8bit")),
                         [](const auto& info) { return info.param.first + "_" + info.param.second; });

TEST(StopTest, SigtermLeavesAWholeCheckpointAndExitCode143) {
  const std::string model = TinyModel("llama_untied"), rows = WriteRows(), out = FreshPath("stopped");
  const Finetune finetune(model, rows, "lora");
  const pid_t pid = finetune.Start(out, false);
  while (!HasStep(out, 2) && waitpid(pid, nullptr, WNOHANG) == 0)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  kill(pid, SIGTERM);
  EXPECT_EQ(WaitFor(pid), 143);
  EXPECT_EQ(WaitFor(finetune.Start(out, true)), 0);
}

}  // namespace
}  // namespace lorikeet
