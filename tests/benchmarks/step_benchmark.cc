// Whole training steps of a model of SmolLM2-135M's shape with random weights, through the trainer that the programs
// use: rank 16 on every linear layer, AdamW, no checkpointing.
//
//   bazel run -c opt //tests/benchmarks:step_benchmark -- --method=qlora,lora --tokens=4x256 --steps=5 --threads=2
//
// Half of each sequence, its end, is the answer that has a loss. One step warms up, the best of the others counts:
// other processes only ever slow it down. Useful work, in floating-point operations:
//   4 x frozen linear weights x tokens + 6 x adapter weights x tokens      (forward and backward)
//   + 12 x heads x head_dim x causal pairs of tokens x layers              (attention: two products, then four)
//   + 4 x head weights x rows with a loss.                                 (forward and input gradient)
// What is computed again, or masked, does not count. peak%: the useful rate over the dot-product peak (bf16) or the
// multiply-add peak (f32), measured in this run before and after the steps, in time on the clock; cpu%: the same in
// processor time, which a machine shared with others disturbs less. Faults: fresh pages of 4 kB in the last step.
#include <sys/resource.h>
#include <sys/time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "apps/model/nf4_factory.h"
#include "apps/text/batches.h"
#include "apps/text/dataset.h"
#include "apps/training/trainer.h"
#include "autograd/parameter.h"
#include "nn/causal_lm.h"
#include "nn/load.h"
#include "nn/model_config.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "peft/inject.h"
#include "tensor/check.h"
#include "tensor/default_allocator.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/peak.h"
#include "tensor/random.h"
#include "tensor/tensor.h"
#include "tests/benchmarks/random_rows.h"
#include "tests/benchmarks/random_weights.h"

ABSL_FLAG(std::vector<std::string>, method, std::vector<std::string>({"qlora", "lora", "lora_f32", "dora", "qdora"}),
          "of qlora, lora, lora_f32, dora, qdora, separated by commas");
ABSL_FLAG(std::string, tokens, "4x256", "sequences x tokens of each");
ABSL_FLAG(int, steps, 3, "timed steps");
ABSL_FLAG(int, threads, 2, "threads of parallel loops");
ABSL_FLAG(int64_t, rank, 16, "of the adapters");
ABSL_FLAG(int64_t, layers, 30, "of the model; SmolLM2-135M has 30");
ABSL_FLAG(bool, json, false, "one JSON object for each method, for a program to read");

namespace lorikeet {
namespace {

struct Setup {
  std::string method;
  int64_t sequences = 0, length = 0, rank = 0, layers = 0;
  int steps = 0, threads = 0;

  bool quantized() const { return absl::StartsWith(method, "q"); }
  bool dora() const { return absl::EndsWith(method, "dora"); }
  DType dtype() const { return absl::EndsWith(method, "_f32") ? DType::kF32 : DType::kBF16; }
};

struct Usage {
  double cpu_seconds;
  int64_t faults;
};

Usage UsageNow() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return {seconds(u.ru_utime) + seconds(u.ru_stime), u.ru_minflt};
}

// A line of /proc/self/status, in megabytes: "VmRSS:" is resident now, "VmHWM:" the most since the last reset.
double StatusMegabytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kilobytes = 0;
    if (word == key && status >> kilobytes) return kilobytes * 1024e-6;
  }
  return 0;
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void ResetPeakMemory() { std::ofstream("/proc/self/clear_refs") << "5"; }

std::unique_ptr<CausalLm> MakeModel(const ModelConfig& config, const Setup& s, AdapterRun* run) {
  std::unique_ptr<CausalLm> lm = BuildModel(config, s.dtype());
  const MapFactory factory = s.quantized() ? Nf4Factory(DType::kBF16) : DenseFactory(s.dtype(), false);
  const absl::Status loaded = LoadWeights(*lm, RandomWeights(config), factory, false, nullptr);
  LORIKEET_CHECK(loaded.ok()) << loaded;
  AdapterConfig adapter;
  adapter.r = s.rank;
  adapter.use_dora = s.dora();
  const absl::StatusOr<InjectReport> report = Inject(*lm, adapter, RngKey{.seed = 2}, run);
  LORIKEET_CHECK(report.ok()) << report.status();
  return lm;
}

double UsefulFlops(const ModelConfig& c, const Setup& s, int64_t rows_with_loss) {
  const int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim, h = c.hidden_size;
  const int64_t linear = 2 * h * q + 2 * h * kv + 3 * h * c.intermediate_size;
  const int64_t adapter = s.rank * (2 * (h + q) + 2 * (h + kv) + 3 * (h + c.intermediate_size));
  const int64_t tokens = s.sequences * s.length, pairs = s.sequences * s.length * (s.length + 1) / 2;
  return static_cast<double>(c.num_layers) *
             (4.0 * static_cast<double>(linear * tokens) + 6.0 * static_cast<double>(adapter * tokens) +
              12.0 * static_cast<double>(q * pairs)) +
         4.0 * static_cast<double>(c.vocab_size * h * rows_with_loss);
}

struct Measured {
  double peak = 0, flops = 0;        // FLOP/s of the processor; useful FLOP of a step
  double start_seconds = 0;          // from nothing to the end of the first step
  double cpu_seconds = 1e30;         // of the cheapest step
  std::vector<double> seconds = {};  // of each step but the first
  int64_t faults = 0;

  double best() const { return *std::min_element(seconds.begin(), seconds.end()); }
};

double TokensPerSecond(const Setup& s, const Measured& m) {
  return static_cast<double>(s.sequences * s.length) / m.best();
}

void PrintLine(const Setup& s, const Measured& m) {
  std::printf(
      "%-8s %dx%d rank %d, %d threads: %.3f s, %.0f tokens/s, %.0f GFLOP/s, peak%% %.1f of %.0f, cpu%% %.1f, "
      "faults %d, memory %.0f MB, most %.0f MB, first step after %.2f s\n",
      s.method.c_str(), static_cast<int>(s.sequences), static_cast<int>(s.length), static_cast<int>(s.rank), s.threads,
      m.best(), TokensPerSecond(s, m), m.flops / m.best() * 1e-9, 100 * m.flops / m.best() / m.peak, m.peak * 1e-9,
      100 * m.flops / m.cpu_seconds / (m.peak / s.threads), static_cast<int>(m.faults), StatusMegabytes("VmRSS:"),
      StatusMegabytes("VmHWM:"), m.start_seconds);
}

void PrintJson(const Setup& s, const Measured& m) {
  std::printf(
      "{\"method\": \"%s\", \"tokens\": \"%dx%d\", \"rank\": %d, \"layers\": %d, \"threads\": %d, \"seconds\": [%s], "
      "\"tokens_per_second\": %.1f, \"peak_fraction\": %.4f, \"peak_gflops\": %.1f, \"peak_resident_bytes\": %.0f, "
      "\"start_seconds\": %.3f}\n",
      s.method.c_str(), static_cast<int>(s.sequences), static_cast<int>(s.length), static_cast<int>(s.rank),
      static_cast<int>(s.layers), s.threads, absl::StrJoin(m.seconds, ", ").c_str(), TokensPerSecond(s, m),
      m.flops / m.best() / m.peak, m.peak * 1e-9, 1e6 * StatusMegabytes("VmHWM:"), m.start_seconds);
}

void Run(const Setup& s) {
  const auto start = std::chrono::steady_clock::now();
  SetNumThreads(s.threads);
  ResetPeakMemory();
  ModelConfig config = SmolLm2Shape();
  config.num_layers = s.layers;
  AdapterRun run;
  const std::unique_ptr<CausalLm> lm = MakeModel(config, s, &run);
  const std::vector<Parameter*> parameters = TrainableParameters(*lm);
  const Schedule schedule(ScheduleType::kConstant, 1e-4, 0, s.steps + 1);
  AdamW adamw(parameters, {}, std::make_unique<ResidentStore>(StateElements(parameters)));
  const std::vector<text::Example> rows = RandomRows(s.sequences, s.length, config.vocab_size, s.length / 2);
  const text::SequenceStream stream(&rows, {.max_seq_length = s.length});
  Trainer trainer(*lm, parameters, adamw, schedule, &run, stream, {.batch_size = s.sequences, .key = {}});

  Measured m{.peak = MeasurePeakFlops(s.dtype(), s.threads)};
  Usage used{};
  int64_t rows_with_loss = 0;
  for (int step = 0; step <= s.steps; ++step) {
    const Usage before = UsageNow();
    const absl::StatusOr<StepResult> r = trainer.Step(step);
    LORIKEET_CHECK(r.ok()) << r.status();
    used = UsageNow();
    rows_with_loss = r->answer_tokens;
    if (step == 0) {  // it makes the pages that later steps use again
      m.start_seconds = SecondsSince(start);
      continue;
    }
    m.seconds.push_back(r->seconds);
    m.cpu_seconds = std::min(m.cpu_seconds, used.cpu_seconds - before.cpu_seconds);
    m.faults = used.faults - before.faults;
    m.peak = std::max(m.peak, MeasurePeakFlops(s.dtype(), s.threads));
  }
  m.flops = UsefulFlops(config, s, rows_with_loss);
  absl::GetFlag(FLAGS_json) ? PrintJson(s, m) : PrintLine(s, m);
  std::fflush(stdout);
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  const std::vector<std::string> tokens = absl::StrSplit(absl::GetFlag(FLAGS_tokens), 'x');
  lorikeet::Setup s;
  s.rank = absl::GetFlag(FLAGS_rank);
  s.layers = absl::GetFlag(FLAGS_layers);
  s.steps = absl::GetFlag(FLAGS_steps);
  s.threads = absl::GetFlag(FLAGS_threads);
  if (tokens.size() != 2 || !absl::SimpleAtoi(tokens[0], &s.sequences) || !absl::SimpleAtoi(tokens[1], &s.length)) {
    std::fprintf(stderr, "--tokens: expected sequences x tokens, such as 4x256\n");
    return 2;
  }
  for (const std::string& method : absl::GetFlag(FLAGS_method)) {
    s.method = method;
    lorikeet::Run(s);
    lorikeet::HostCache().Trim();
  }
}
