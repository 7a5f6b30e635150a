// What further processes are worth: training steps of finetune on SmolLM2-135M (tools/fetch_model smollm2-135m), LoRA
// of rank 16 on every linear layer, 8 packed sequences of 256 tokens to a step, by one process and by several under
// mpirun.
//
//   bazel run -c opt //tests/benchmarks:ranks_benchmark -- --ranks=2 --rounds=3
//
// Rounds go through all rows in turn, so that what else the machine does falls on each alike; a rate is over the steps
// of all rounds, but for each round's first. best: the fastest step, which others disturbed least. Ratios: to one
// process with as many threads as one rank has. Every step waits for its slowest rank, where threads would help each
// other out, so a disturbed machine costs ranks more.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/testing/model_cache.h"

ABSL_FLAG(int, ranks, 2, "processes");
ABSL_FLAG(int, threads, 1, "of each");
ABSL_FLAG(int, rounds, 3, "of all rows");
ABSL_FLAG(int, steps, 5, "of a run");

namespace {

namespace fs = std::filesystem;

struct Row {
  std::string name, launcher;
  int threads;
  std::vector<double> rates;  // tokens/s of steps
};

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Sentences about numbers, as long as those of grade-school arithmetic.
std::string WriteRows(const std::string& directory) {
  const std::string path = directory + "/rows.jsonl";
  std::ofstream file(path);
  for (int i = 0; i < 400; ++i) {
    file << absl::StrCat(R"({"question": "Ann has )", i, R"( boxes of )", i % 17,
                         R"( eggs and sells half of them at the market. How many eggs has she left in the end?", )",
                         R"("answer": "She begins with )", i, " * ", i % 17, " = ", i * (i % 17),
                         R"( eggs. After the market half of them are left. The answer is )", i * (i % 17) / 2, "\"}\n");
  }
  return path;
}

bool Measure(const std::string& finetune, const std::string& model, const std::string& directory, Row* row) {
  const std::string out = directory + "/out";
  fs::remove_all(out);
  const int accumulation = std::max(2, absl::GetFlag(FLAGS_ranks));
  const std::string command = absl::StrCat(
      row->launcher, finetune, " --model=", model, " --data=", directory, "/rows.jsonl --output_dir=", out,
      " --device=cpu --packing --eval_fraction=0 --max_seq_length=256 --batch_size=", std::max(1, 8 / accumulation),
      " --gradient_accumulation_steps=", accumulation, " --max_steps=", absl::GetFlag(FLAGS_steps),
      " --threads=", row->threads, " >", directory, "/log 2>&1");
  if (std::system(command.c_str()) != 0) {
    std::ifstream log(directory + "/log");
    std::fprintf(stderr, "%s\n%s\n", command.c_str(), std::string(std::istreambuf_iterator<char>(log), {}).c_str());
    return false;
  }
  std::ifstream metrics(out + "/metrics.jsonl");
  std::string line;
  for (bool first = true; std::getline(metrics, line); first = false) {
    const std::vector<std::string> parts = absl::StrSplit(line, "\"tokens_per_second\":");
    double rate;
    if (!first && parts.size() == 2 && absl::SimpleAtod(parts[1].substr(0, parts[1].find(',')), &rate))
      row->rates.push_back(rate);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string finetune = fs::absolute("apps/finetune").string();
  absl::ParseCommandLine(argc, argv);
  const std::string model = lorikeet::CachedModel("smollm2-135m.gguf");
  if (model.empty()) return std::fprintf(stderr, "%s\n", lorikeet::kFetchHint), 2;
  const std::string directory = absl::StrCat(fs::temp_directory_path().string(), "/ranks_benchmark.", getpid());
  fs::create_directories(directory);
  WriteRows(directory);
  const int ranks = absl::GetFlag(FLAGS_ranks), threads = absl::GetFlag(FLAGS_threads);
  const std::string mpirun =
      absl::StrCat("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --bind-to none -n ", ranks, " ");
  std::vector<Row> rows = {{absl::StrCat("1 process, ", threads, " threads"), "", threads, {}},
                           {absl::StrCat(ranks, " ranks, ", threads, " threads each"), mpirun, threads, {}},
                           {absl::StrCat("1 process, ", ranks * threads, " threads"), "", ranks * threads, {}}};
  bool good = true;
  for (int round = 0; good && round < absl::GetFlag(FLAGS_rounds); ++round) {
    for (Row& row : rows) good = good && Measure(finetune, model, directory, &row);
  }
  fs::remove_all(directory);
  if (!good || rows[0].rates.empty()) return 1;
  const auto best = [](const Row& row) { return *std::max_element(row.rates.begin(), row.rates.end()); };
  std::printf("%-28s %9s %6s %9s %6s\n", "tokens/s", "best", "ratio", "median", "ratio");
  for (const Row& row : rows) {
    std::printf("%-28s %9.1f %6.2f %9.1f %6.2f\n", row.name.c_str(), best(row), best(row) / best(rows[0]),
                Median(row.rates), Median(row.rates) / Median(rows[0].rates));
  }
  return 0;
}
