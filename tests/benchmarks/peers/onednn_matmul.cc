// Every matrix product of a training step of three models, by MatMulInto and by oneDNN's matmul, in one process.
//
//   bazel build -c opt //tests/benchmarks/peers:onednn_matmul        # needs libdnnl-dev
//   OMP_WAIT_POLICY=active bazel-bin/tests/benchmarks/peers/onednn_matmul --filter='smollm2/M1024/fwd' --dtype=bf16
//
// Names: model/M tokens/product/out x in, for linear layers W [out,in]. fwd: y = x*W^T. dx: dy*W. With adapters of
// rank r, A [r,in] and B [out,r]: u = x*A^T, y += u*B^T, du = dy*B, dA += du^T*x, dB += dy^T*u; the last two in f32.
// Each is checked against the other's result first. GFLOP/s at the fastest call, which others disturbed least, and at
// the median one; peak%: ours, of the peak that this machine reaches on registers, measured in the same run.
//
// The two take turns in blocks of calls, and neither disturbs the other: our workers fall asleep some 50 us after
// their last loop, which the first call of a block, not counted, outlasts; OpenMP's, which under
// OMP_WAIT_POLICY=active never sleep, are ended after each block (ReleaseOneDnnThreads) and made again by the first,
// uncounted call of the next. oneDNN is given whichever of its layouts was fastest (onednn_product.h).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/peak.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/random.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "tests/benchmarks/peers/onednn_product.h"

ABSL_FLAG(std::string, filter, "", "regular expression: only products whose name matches somewhere");
ABSL_FLAG(std::vector<std::string>, dtype, std::vector<std::string>({"bf16", "f32"}), "of bf16, f32");
ABSL_FLAG(std::vector<std::string>, threads, std::vector<std::string>({"1", "2"}), "numbers of threads");
ABSL_FLAG(int, rounds, 5, "times that the two take turns");
ABSL_FLAG(double, max_seconds, 3, "leaves out products that take longer at the machine's peak");
ABSL_FLAG(bool, json, false, "one JSON object a product in place of the table");

namespace lorikeet {
namespace {

struct Case {
  std::string name;
  Product product;
  bool f32_result = false;
};

struct Rates {
  double best = 0, median = 0;  // GFLOP/s
};

struct Result {
  Rates ours, onednn;
  double peak_fraction = 0;
  std::string layout;
};

constexpr double kBlockSeconds = 0.02;
constexpr size_t kMostCalls = 200;

template <typename F>
double Seconds(F&& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Adds the times of one block of calls. The call before them wakes threads and is not counted.
template <typename F>
void Block(F&& run, std::vector<double>* seconds) {
  run();
  double total = 0;
  for (size_t i = 0; i < kMostCalls && total < kBlockSeconds; ++i) {
    seconds->push_back(Seconds(run));
    total += seconds->back();
  }
}

Rates RatesOf(std::vector<double> seconds, double flops) {
  std::sort(seconds.begin(), seconds.end());
  return {flops / seconds.front() * 1e-9, flops / seconds[seconds.size() / 2] * 1e-9};
}

// The best ever seen: others only slow it down. Measured anew now and then, since clocks rise and fall.
double Peak(DType dtype, int threads) {
  static std::map<std::pair<DType, int>, std::pair<double, int>> peaks;
  auto& [peak, calls] = peaks[{dtype, threads}];
  if (calls++ % 8 == 0) peak = std::max(peak, MeasurePeakFlops(dtype, threads));
  return peak;
}

double Flops(const Product& p) {
  return 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
}

void CheckSame(const Tensor& ours, const Tensor& theirs, const std::string& what) {
  const Tensor a = ours.Cast(DType::kF32), b = theirs.Cast(DType::kF32);
  float largest = 0, difference = 0;
  for (size_t i = 0; i < a.data<float>().size(); ++i) {
    largest = std::max(largest, std::fabs(a.data<float>()[i]));
    difference = std::max(difference, std::fabs(a.data<float>()[i] - b.data<float>()[i]));
  }
  const float tolerance = ours.dtype() == DType::kBF16 ? 1e-2f : 1e-3f;
  LORIKEET_CHECK(difference <= tolerance * largest) << what << ": differs by " << difference << " of " << largest;
}

// Leaves the fastest variant chosen, each having computed what we did.
void ChooseLayout(const std::string& name, const Tensor& expected, Tensor& y, OneDnnProduct* product) {
  const size_t bytes = static_cast<size_t>(y.nbytes());
  int best = -1;
  double best_seconds = 1e30;
  for (int v = 0; v < product->variants(); ++v) {
    if (!product->Choose(v)) continue;
    std::fill_n(static_cast<char*>(y.view().data), bytes, 0);
    double seconds = Seconds([&] { product->Run(); });
    CheckSame(expected, y, absl::StrCat(name, " ", product->layout()));
    // A slow first call may have been unlucky, so a variant is left only when it is far behind.
    double total = seconds;
    for (int i = 0; i < 30 && (i < 3 || total < kBlockSeconds) && seconds < 2 * best_seconds; ++i) {
      const double again = Seconds([&] { product->Run(); });
      seconds = std::min(seconds, again), total += again;
    }
    if (seconds < best_seconds) best_seconds = seconds, best = v;
  }
  LORIKEET_CHECK(best >= 0) << name << ": oneDNN has nothing but its reference loops";
  LORIKEET_CHECK(product->Choose(best)) << name;
}

Result Measure(const Case& c, DType dtype, int threads) {
  const Product& p = c.product;
  const RngKey key{.seed = 1};
  const Tensor a = tensor::Uniform(p.ta ? Shape{p.k, p.m} : Shape{p.m, p.k}, -1, 1, key.Fold(0), dtype);
  const Tensor b = tensor::Uniform(p.tb ? Shape{p.n, p.k} : Shape{p.k, p.n}, -1, 1, key.Fold(1), dtype);
  const DType result = c.f32_result ? DType::kF32 : dtype;
  Tensor y = Tensor::Zeros({p.m, p.n}, result), theirs = Tensor::Zeros({p.m, p.n}, result);
  Result r;
  r.peak_fraction = 1 / Peak(dtype, threads);
  SetNumThreads(threads);
  const auto ours = [&] { tensor::MatMulInto(y, a, p.ta, b, p.tb, 1, p.beta); };
  ours();
  OneDnnProduct product(p, a, b, theirs, threads);
  ChooseLayout(c.name, y, theirs, &product);
  r.layout = product.layout();
  std::vector<double> our_seconds, their_seconds;
  for (int i = 0; i < absl::GetFlag(FLAGS_rounds); ++i) {
    ReleaseOneDnnThreads();
    Block(ours, &our_seconds);
    Block([&] { product.Run(); }, &their_seconds);
  }
  ReleaseOneDnnThreads();
  r.ours = RatesOf(std::move(our_seconds), Flops(p));
  r.onednn = RatesOf(std::move(their_seconds), Flops(p));
  r.peak_fraction *= r.ours.best * 1e9;
  return r;
}

struct ModelShape {
  std::string name;
  int64_t hidden, kv, intermediate, vocab, most_head_rows;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  const auto add_linear = [&](const std::string& prefix, int64_t m, int64_t out, int64_t in, bool adapters) {
    const std::string shape = absl::StrCat("/", out, "x", in);
    cases.push_back({prefix + "fwd" + shape, {.m = m, .n = out, .k = in, .tb = true, .frozen = true}});
    cases.push_back({prefix + "dx" + shape, {.m = m, .n = in, .k = out, .frozen = true}});
    if (!adapters) return;
    for (const int64_t r : {8, 16, 64}) {
      const std::string rank = absl::StrCat("_r", r, shape);
      cases.push_back({prefix + "u" + rank, {.m = m, .n = r, .k = in, .tb = true, .frozen = true}});
      cases.push_back({prefix + "y" + rank, {.m = m, .n = out, .k = r, .tb = true, .beta = 1, .frozen = true}});
      cases.push_back({prefix + "du" + rank, {.m = m, .n = r, .k = out, .frozen = true}});
      cases.push_back({prefix + "dA" + rank, {.m = r, .n = in, .k = m, .ta = true, .beta = 1}, true});
      cases.push_back({prefix + "dB" + rank, {.m = out, .n = r, .k = m, .ta = true, .beta = 1}, true});
    }
  };
  const ModelShape models[] = {{"smollm2-135m", 576, 192, 1536, 49152, 2048},
                               {"qwen2-0.5b", 896, 128, 4864, 151936, 2048},
                               {"llama3-8b", 4096, 1024, 14336, 128256, 256}};
  for (const ModelShape& model : models) {
    for (const int64_t m : {256, 1024, 2048}) {
      const std::string prefix = absl::StrCat(model.name, "/M", m, "/");
      add_linear(prefix, m, model.hidden, model.hidden, true);
      add_linear(prefix, m, model.kv, model.hidden, true);
      add_linear(prefix, m, model.intermediate, model.hidden, true);
      add_linear(prefix, m, model.hidden, model.intermediate, true);
      if (m <= model.most_head_rows) add_linear(prefix, m, model.vocab, model.hidden, false);
    }
  }
  return cases;
}

void PrintRow(const Case& c, DType dtype, int threads, const Result& r) {
  std::printf("%-40s %-5s %7d %9.1f %9.1f %7.3f %9.1f %9.1f %7.3f %6.1f  %s\n", c.name.c_str(),
              std::string(Name(dtype)).c_str(), threads, r.ours.best, r.onednn.best, r.ours.best / r.onednn.best,
              r.ours.median, r.onednn.median, r.ours.median / r.onednn.median, 100 * r.peak_fraction, r.layout.c_str());
}

void PrintJson(const Case& c, DType dtype, int threads, const Result& r) {
  std::printf(
      "{\"peer\": \"oneDNN\", \"what\": \"matmul\", \"version\": \"%s\", \"name\": \"%s\", \"dtype\": \"%s\", "
      "\"threads\": %d, \"ours\": %.1f, \"onednn\": %.1f, \"ratio\": %.3f, \"ours_median\": %.1f, "
      "\"onednn_median\": %.1f, \"ratio_median\": %.3f, \"peak_percent\": %.1f, \"layout\": \"%s\"}\n",
      OneDnnVersion().c_str(), c.name.c_str(), std::string(Name(dtype)).c_str(), threads, r.ours.best, r.onednn.best,
      r.ours.best / r.onednn.best, r.ours.median, r.onednn.median, r.ours.median / r.onednn.median,
      100 * r.peak_fraction, r.layout.c_str());
}

void RunAll() {
  const std::regex filter(absl::GetFlag(FLAGS_filter));
  std::fprintf(stderr, "oneDNN %s\n", OneDnnVersion().c_str());
  if (!absl::GetFlag(FLAGS_json)) {
    std::printf("%-40s %-5s %7s %9s %9s %7s %9s %9s %7s %6s  %s\n", "product (GFLOP/s: best, then median)", "dtype",
                "threads", "ours", "oneDNN", "ratio", "ours", "oneDNN", "ratio", "peak%", "oneDNN's layout");
  }
  int count = 0, faster = 0;
  double log_ratio = 0;
  for (const std::string& dtype_name : absl::GetFlag(FLAGS_dtype)) {
    const DType dtype = dtype_name == "bf16" ? DType::kBF16 : DType::kF32;
    for (const std::string& thread_word : absl::GetFlag(FLAGS_threads)) {
      int threads = 1;
      LORIKEET_CHECK(absl::SimpleAtoi(thread_word, &threads)) << "--threads=" << thread_word;
      for (const Case& c : Cases()) {
        if (!std::regex_search(c.name, filter)) continue;
        if (Flops(c.product) / Peak(dtype, threads) > absl::GetFlag(FLAGS_max_seconds)) {
          std::fprintf(stderr, "%s %s: left out, too long\n", c.name.c_str(), dtype_name.c_str());
          continue;
        }
        const Result r = Measure(c, dtype, threads);
        absl::GetFlag(FLAGS_json) ? PrintJson(c, dtype, threads, r) : PrintRow(c, dtype, threads, r);
        std::fflush(stdout);
        ++count, faster += r.ours.best >= r.onednn.best, log_ratio += std::log(r.ours.best / r.onednn.best);
      }
    }
  }
  std::fprintf(stderr, "%d products, ours at least as fast in %d, geometric mean of ratios %.3f\n", count, faster,
               count == 0 ? 0 : std::exp(log_ratio / count));
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  lorikeet::RunAll();
}
