// Several processes train as one does, and one that is lost takes nothing with it but the run.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

// Rows with answers of unequal length.
std::string WriteRows(int rows = 60) {
  const std::string path = FreshPath("rows.jsonl");
  std::ofstream file(path);
  for (int i = 0; i < rows; ++i) {
    file << absl::StrCat("{\"prompt\": \"count to ", i, "\", \"completion\": \"",
                         std::string(static_cast<size_t>(1 + i % 7), 'x'), "\"}\n");
  }
  return path;
}

const char kFlags[] =
    " --batch_size=2 --gradient_accumulation_steps=2 --max_seq_length=32 --lora_r=4 --learning_rate=1e-2"
    " --chat_template=plain --compute_dtype=f32";

// Of all files that a test's runs share.
struct Files {
  std::string model = TinyModel("llama_untied"), rows = WriteRows();
  std::string Finetune(const std::string& out, const std::string& flags = "") const {
    return absl::StrCat("apps/finetune --model=", model, " --data=", rows, " --output_dir=", out, kFlags, " ", flags);
  }
};

std::vector<double> Numbers(const std::string& out, const std::string& key) {
  std::vector<double> numbers;
  for (absl::string_view line : absl::StrSplit(Contents(out + "/metrics.jsonl"), '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::StrCat("\"", key, "\":"));
    double number;
    if (parts.size() == 2 && absl::SimpleAtod(parts[1].substr(0, parts[1].find_first_of(",}")), &number))
      numbers.push_back(number);
  }
  return numbers;
}

std::string Adapter(const std::string& out) { return Contents(out + "/adapter_model.safetensors"); }

void ExpectNear(const std::string& out, const std::string& want, const std::string& key, double tolerance) {
  const std::vector<double> a = Numbers(out, key), b = Numbers(want, key);
  ASSERT_EQ(a.size(), b.size()) << key;
  ASSERT_FALSE(a.empty()) << key;
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(std::abs(a[i] - b[i]) <= tolerance * std::abs(b[i])) << key << " " << i;
}

int Count(const std::string& text, const std::string& part) {
  return static_cast<int>(std::vector<absl::string_view>(absl::StrSplit(text, part)).size()) - 1;
}

struct Setting {
  std::string name;
  int ranks;
  std::string flags;
};

class DataParallelTest : public testing::TestWithParam<Setting> {};

TEST_P(DataParallelTest, RanksTakeTheStepsOfOneProcess) {
  const Files files;
  const std::string one = FreshPath("one"), many = FreshPath("many");
  const std::string flags = "--max_steps=6 --eval_steps=3 --eval_fraction=0.2 " + GetParam().flags;
  ASSERT_EQ(RunShell("exec " + files.Finetune(one, flags)).code, 0);
  const Outcome o = RunShell(absl::StrCat(MpiRun(), "-n ", GetParam().ranks, " ", files.Finetune(many, flags)));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(absl::StrContains(o.out, absl::StrCat(GetParam().ranks, " ranks"))) << o.out;
  EXPECT_EQ(Numbers(many, "tokens"), Numbers(one, "tokens"));
  ExpectNear(many, one, "loss", 1e-4);
  ExpectNear(many, one, "grad_norm", 1e-3);
  ExpectNear(many, one, "eval_loss", 1e-4);
}

INSTANTIATE_TEST_SUITE_P(
    Settings, DataParallelTest,
    testing::Values(Setting{"TwoOverTheMicroBatches", 2, "--lora_dropout=0.1"},
                    Setting{"TwoWithAQuantizedBaseAndPagedState", 2,
                            "--method=qdora --packing --lora_r=128 --optim=paged_adamw --optimizer_memory=1048576"},
                    Setting{"FourWithinTheMicroBatches", 4, "--batch_size=4 --gradient_accumulation_steps=1"},
                    Setting{"ThreeOverAllWeights", 3, "--method=full --gradient_accumulation_steps=3"}),
    [](const testing::TestParamInfo<Setting>& info) { return info.param.name; });

// A run of ranks in the background, and the process of each.
class Background {
 public:
  Background(int ranks, const std::string& command) {
    const std::string pids = FreshPath("pids");
    std::filesystem::create_directory(pids);
    const std::string line = absl::StrCat(MpiRun(), "-n ", ranks, " sh -c 'echo $$ >", pids,
                                          "/$OMPI_COMM_WORLD_RANK.new; mv ", pids, "/$OMPI_COMM_WORLD_RANK.new ", pids,
                                          "/$OMPI_COMM_WORLD_RANK; exec ", command, "' >/dev/null 2>", err_);
    launcher_ = fork();
    if (launcher_ == 0) {
      execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
      _exit(127);
    }
    for (int r = 0; r < ranks; ++r) {
      const std::string path = absl::StrCat(pids, "/", r);
      while (!std::filesystem::exists(path) && Runs()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      int pid = 0;
      EXPECT_TRUE(absl::SimpleAtoi(Contents(path), &pid)) << Contents(err_);
      ranks_.push_back(pid);
    }
  }
  bool Runs() const {
    siginfo_t info = {};
    return waitid(P_PID, static_cast<id_t>(launcher_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
  }
  ~Background() {
    if (launcher_ <= 0) return;
    for (const pid_t rank : ranks_) {
      if (rank > 0) kill(rank, SIGKILL);
    }
    kill(launcher_, SIGKILL);
    waitpid(launcher_, nullptr, 0);
  }
  // When as many steps are in the metrics.
  void Signal(int rank, int signal, const std::string& out, size_t steps) const {
    while (Numbers(out, "loss").size() < steps && Runs()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    ASSERT_TRUE(Runs()) << err();
    ASSERT_GT(ranks_[static_cast<size_t>(rank)], 0);
    kill(ranks_[static_cast<size_t>(rank)], signal);
  }
  int Wait() {
    int status = 0;
    waitpid(std::exchange(launcher_, -1), &status, 0);
    ranks_.clear();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string err() const { return Contents(err_); }

 private:
  std::string err_ = FreshPath("err");
  pid_t launcher_ = -1;
  std::vector<pid_t> ranks_;
};

const char kLong[] = "--max_steps=40 --save_steps=1 --save_total_limit=2";

// What a run that was left alone comes to, of two ranks.
std::string Calm(const Files& files) {
  const std::string out = FreshPath("calm");
  EXPECT_EQ(RunShell(MpiRun() + "-n 2 " + files.Finetune(out, kLong)).code, 0);
  return Adapter(out);
}

std::string Resumed(const Files& files, const std::string& out) {
  const Outcome o =
      RunShell(MpiRun() + "-n 2 " + files.Finetune(out, absl::StrCat(kLong, " --resume_from_checkpoint=latest")));
  EXPECT_EQ(o.code, 0) << o.err;
  return Adapter(out);
}

TEST(LostRankTest, ARankThatIsKilledEndsTheRunAndTheLastCheckpointGoesOn) {
  const Files files;
  const std::string calm = Calm(files);
  for (const int victim : {0, 1}) {
    const std::string out = FreshPath("killed");
    Background run(2, files.Finetune(out, kLong));
    run.Signal(victim, SIGKILL, out, 5);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_NE(run.Wait(), 0);
    EXPECT_LE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    EXPECT_TRUE(absl::StrContains(run.err(), absl::StrCat("process rank ", victim))) << run.err();
    EXPECT_EQ(Resumed(files, out), calm);
  }
}

TEST(LostRankTest, ARankThatHangsIsNamed) {
  const Files files;
  const std::string calm = Calm(files);
  for (const int victim : {0, 1}) {
    const std::string out = FreshPath("hung");
    Background run(2, files.Finetune(out, absl::StrCat(kLong, " --rank_timeout=5")));
    run.Signal(victim, SIGSTOP, out, 5);
    EXPECT_EQ(run.Wait(), 3) << run.err();
    EXPECT_TRUE(absl::StrContains(run.err(), absl::StrCat("waited 5 s for rank ", victim, " (process "))) << run.err();
    EXPECT_EQ(Resumed(files, out), calm);
  }
}

// Without checkpoints on the way: what it goes on from is what the signal left.
TEST(LostRankTest, ASignalToOneRankStopsAllAfterTheSameStep) {
  const Files files;
  const std::string calm = Calm(files), flags = "--max_steps=40";
  for (const int victim : {0, 1}) {
    const std::string out = FreshPath("stopped");
    Background run(2, files.Finetune(out, flags));
    run.Signal(victim, SIGTERM, out, 5);
    EXPECT_EQ(run.Wait(), 143) << run.err();
    EXPECT_EQ(Count(run.err(), "error: stopped by SIGTERM"), 1) << run.err();
    EXPECT_TRUE(absl::StrContains(Contents(out + "/run.json"), "\"stopped\""));
    const Outcome o = RunShell(MpiRun() + "-n 2 " + files.Finetune(out, flags + " --resume_from_checkpoint=latest"));
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(Adapter(out), calm);
  }
}

TEST(LostRankTest, ALossThatIsNotFiniteStopsAllAndIsSaidOnce) {
  const Files files;
  const std::string flags =
      "--method=full --lr_scheduler_type=constant --max_steps=400 --learning_rate=1000 --weight_decay=0.9"
      " --max_grad_norm=0";
  const Outcome o = RunShell(MpiRun() + "-n 2 " + files.Finetune(FreshPath("nan"), flags));
  EXPECT_EQ(o.code, 5);
  EXPECT_EQ(Count(o.err, "; nothing was updated"), 1) << o.err;
}

TEST(DataParallelStartTest, ARunGoesOnWithAnotherNumberOfRanks) {
  const Files files;
  const std::string one = FreshPath("one"), other = FreshPath("other"), resume = " --resume_from_checkpoint=latest";
  ASSERT_EQ(RunShell("exec " + files.Finetune(one, kLong)).code, 0);
  Background run(2, files.Finetune(other, kLong));
  run.Signal(0, SIGTERM, other, 5);
  EXPECT_EQ(run.Wait(), 143) << run.err();
  ASSERT_EQ(RunShell("exec " + files.Finetune(other, kLong + resume)).code, 0);
  ExpectNear(other, one, "loss", 1e-3);
}

TEST(DataParallelStartTest, WhatAllDoWrongIsSaidOnce) {
  const Files files;
  const std::string out = FreshPath("out");
  Outcome o = RunShell(MpiRun() + "-n 3 " + files.Finetune(out));
  EXPECT_EQ(o.code, 2);
  EXPECT_EQ(Count(o.err, "a step cannot be divided among 3 ranks"), 1) << o.err;
  o = RunShell(MpiRun() + "-n 2 " + files.Finetune(out, "--data=missing.jsonl"));
  EXPECT_EQ(o.code, 2);
  EXPECT_EQ(Count(o.err, "missing.jsonl"), 1) << o.err;
  o = RunShell(MpiRun() + "-n 2 apps/finetune");
  EXPECT_EQ(o.code, 2);
  EXPECT_EQ(Count(o.err, "the demonstration is for one process"), 1) << o.err;
}

TEST(DataParallelStartTest, ADryRunIsPrintedOnce) {
  const Files files;
  const Outcome o = RunShell(MpiRun() + "-n 2 " + files.Finetune(FreshPath("out"), "--dry_run"));
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(Count(o.out, "2 ranks"), 1) << o.out;
}

TEST(DataParallelStartTest, RanksThatWouldTrainOnOtherRowsAreRefused) {
  const Files files;
  const std::string out = FreshPath("out"), rows = WriteRows(61);
  const Outcome o =
      RunShell(absl::StrCat(MpiRun(), "-n 1 ", files.Finetune(out), " : -n 1 ", files.Finetune(out, "--data=" + rows)));
  EXPECT_EQ(o.code, 2);
  EXPECT_EQ(Count(o.err, "error: what is trained differs between ranks"), 1) << o.err;
  EXPECT_FALSE(std::filesystem::exists(out + "/metrics.jsonl"));
}

TEST(DataParallelStartTest, ARankThatFailsAloneSaysSo) {
  const Files files;
  const std::string out = FreshPath("out");
  const Outcome o = RunShell(
      absl::StrCat(MpiRun(), "-n 1 ", files.Finetune(out), " : -n 1 ", files.Finetune(out, "--data=missing.jsonl")));
  EXPECT_EQ(o.code, 2);
  EXPECT_EQ(Count(o.err, "error: rank 1 (process "), 1) << o.err;
  EXPECT_EQ(Count(o.err, "missing.jsonl"), 1) << o.err;
}

}  // namespace
}  // namespace lorikeet
