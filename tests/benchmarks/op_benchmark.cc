// The ops of a training step that move memory rather than multiply, as fractions of the copy bandwidth measured in the
// same process.
//
//   bazel run -c opt //tests/benchmarks:op_benchmark -- --benchmark_filter='bf16/.*/threads2'
//
// Names: dtype/op/threads. GB/s counts what an op cannot do without: every input read once and every output written
// once, as SmolLM2-135M has them at 1024 tokens. Each iteration meets tensors that no cache holds any more, as a long
// step would. copy%: of the copy bandwidth, over all iterations; best%: in the fastest one, which other processes
// disturbed least.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/parameter.h"
#include "optim/adamw.h"
#include "optim/clip.h"
#include "optim/resident_store.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/peak.h"
#include "tensor/ops/activation.h"
#include "tensor/ops/column_scale.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/gather.h"
#include "tensor/ops/norm.h"
#include "tensor/ops/random.h"
#include "tensor/ops/rope.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr int64_t kTokens = 1024, kHidden = 576, kInter = 1536, kHeads = 9, kHeadDim = 64, kVocab = 49152;
constexpr int64_t kColdBytes = int64_t{192} << 20;  // beyond any level-3 cache

double CopyBandwidth(int threads) {
  static double measured[8] = {};
  double& best = measured[threads];
  if (best == 0) best = MeasureCopyBandwidth(threads);
  return best;
}

// One op on one set of tensors; the benchmark makes several sets and takes them in turn.
using Run = std::function<void()>;
struct Case {
  std::string name;
  int64_t bytes;  // read and written
  std::function<Run(DType, uint64_t seed)> make;
};

Tensor Noise(const Shape& shape, DType dtype, uint64_t seed) {
  return tensor::Uniform(shape, -2, 2, RngKey{.seed = seed}, dtype);
}

// Keeps the compiler, and nobody else, from dropping a result.
void Use(const Tensor& t) { benchmark::DoNotOptimize(t.raw()); }

Tensor Positions() {
  std::vector<int32_t> p;
  for (int32_t i = 0; i < kTokens; ++i) p.push_back(i % 256);
  return Tensor::From<int32_t>(p, {kTokens});
}

Tensor Ids(int64_t n, int64_t below) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; ++i) {
    ids.push_back(static_cast<int32_t>(Philox({7}, static_cast<uint64_t>(i)).v[0] % static_cast<uint32_t>(below)));
  }
  return Tensor::From<int32_t>(ids, {n});
}

std::vector<Case> Norms(int64_t e) {
  const int64_t row = kTokens * kHidden * e;
  const Tensor w = Noise({kHidden}, DType::kF32, 9);
  return {{"rms_norm", 2 * row,
           [w](DType t, uint64_t s) -> Run {
             return [w, x = Noise({kTokens, kHidden}, t, s)] { Use(tensor::RmsNorm(x, w, 1e-5f).y); };
           }},
          {"add_rms_norm", 4 * row,
           [w](DType t, uint64_t s) -> Run {
             return [w, x = Noise({kTokens, kHidden}, t, s), r = Noise({kTokens, kHidden}, t, s + 1)] {
               Use(tensor::AddRmsNorm(x, r, w, 1e-5f).y);
             };
           }},
          {"add_rms_norm_grad", 4 * row, [w](DType t, uint64_t s) -> Run {
             const Tensor x = Noise({kTokens, kHidden}, t, s);
             return [w, x, dy = Noise({kTokens, kHidden}, t, s + 1), dsum = Noise({kTokens, kHidden}, t, s + 2),
                     rstd = tensor::RmsNorm(x, w, 1e-5f).rstd] {
               Use(tensor::AddRmsNormGrad(dy, dsum, x, w, rstd, false).dx);
             };
           }}};
}

std::vector<Case> Activations(int64_t e) {
  const int64_t row = kTokens * kInter * e;
  return {{"swiglu", 3 * row,
           [](DType t, uint64_t s) -> Run {
             return [g = Noise({kTokens, kInter}, t, s), u = Noise({kTokens, kInter}, t, s + 1)] {
               Use(tensor::SwiGlu(g, u));
             };
           }},
          {"swiglu_grad", 5 * row,
           [](DType t, uint64_t s) -> Run {
             return [dy = Noise({kTokens, kInter}, t, s), g = Noise({kTokens, kInter}, t, s + 1),
                     u = Noise({kTokens, kInter}, t, s + 2)] { Use(tensor::SwiGluGrad(dy, g, u).dup); };
           }},
          {"add", 3 * row,
           [](DType t, uint64_t s) -> Run {
             return [a = Noise({kTokens, kInter}, t, s), b = Noise({kTokens, kInter}, t, s + 1)] {
               Use(tensor::Add(a, b));
             };
           }},
          {"dropout", 2 * row, [](DType t, uint64_t s) -> Run {
             return [x = Noise({kTokens, kInter}, t, s)] { Use(tensor::Dropout(x, 0.1, RngKey{.seed = 1})); };
           }}};
}

std::vector<Case> Columns(int64_t e) {
  const int64_t n = kTokens * kInter;
  const Tensor g = Noise({kInter}, DType::kF32, 9);
  return {{"column_scale", n * (4 + e),
           [g](DType t, uint64_t s) -> Run {
             return [g, t, z = Noise({kTokens, kInter}, DType::kF32, s)] { Use(tensor::ColumnScale(z, g, t)); };
           }},
          {"column_scale_grad", 3 * n * e, [g](DType t, uint64_t s) -> Run {
             return [g, dy = Noise({kTokens, kInter}, t, s), y = Noise({kTokens, kInter}, t, s + 1)] {
               Use(tensor::ColumnScaleGrad(dy, y, g).dx);
             };
           }}};
}

std::vector<Case> Tokens(int64_t e) {
  const tensor::RopeTable table = tensor::MakeRopeTable(Positions(), tensor::RopeFrequencies(1e5, kHeadDim));
  const Tensor ids = Ids(kTokens, kVocab), targets = Ids(256, kVocab);
  return {{"rope", 2 * kTokens * kHeads * kHeadDim * e,
           [table](DType t, uint64_t s) -> Run {
             return [table, x = Noise({kTokens, kHeads, kHeadDim}, t, s)] { Use(tensor::Rope(x, table)); };
           }},
          {"embedding", 2 * kTokens * kHidden * e,
           [ids](DType t, uint64_t s) -> Run {
             return [ids, w = Noise({kVocab, kHidden}, t, s)] { Use(tensor::GatherRows(w, ids)); };
           }},
          // f32 logits are read, their gradient is written in the dtype.
          {"cross_entropy_grad", 256 * kVocab * (4 + e), [targets](DType t, uint64_t s) -> Run {
             return [targets, t, logits = Noise({256, kVocab}, DType::kF32, s),
                     scale = Tensor::Scalar(1e-3, DType::kF32)] {
               Tensor dlogits = Tensor::Empty(logits.shape(), t);
               tensor::CrossEntropyInto(logits, targets, scale, 0, dlogits);
               Use(dlogits);
             };
           }}};
}

std::vector<Case> Optimizer() {
  constexpr int64_t kElements = int64_t{5} << 20;
  return {{"adamw", 28 * kElements,
           [](DType, uint64_t s) -> Run {
             auto p = std::make_shared<Parameter>();
             p->name = "w";
             p->value = Noise({kElements / 64, 64}, DType::kF32, s);
             p->grad = Noise({kElements / 64, 64}, DType::kF32, s + 1);
             const std::vector<Parameter*> all = {p.get()};
             auto adamw =
                 std::make_shared<AdamW>(all, AdamWOptions{}, std::make_unique<ResidentStore>(StateElements(all)));
             return [p, adamw] { benchmark::DoNotOptimize(adamw->Step(1e-6).ok()); };
           }},
          {"grad_norm", 4 * kElements, [](DType, uint64_t s) -> Run {
             auto p = std::make_shared<Parameter>();
             p->grad = Noise({kElements / 64, 64}, DType::kF32, s);
             p->value = p->grad;
             return [p] { benchmark::DoNotOptimize(GradNorm({p.get()}).Get()); };
           }}};
}

void RunCase(benchmark::State& state, const Case& c, DType dtype, int threads) {
  const double copy = CopyBandwidth(threads);
  SetNumThreads(threads);
  std::vector<Run> sets;
  for (int64_t bytes = 0; bytes < kColdBytes; bytes += c.bytes) sets.push_back(c.make(dtype, 10 * sets.size()));
  for (const Run& run : sets) run();  // results' memory exists from here on
  double total = 0, best = 1e30;
  size_t next = 0;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    sets[next]();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    next = (next + 1) % sets.size();
    total += seconds;
    best = std::min(best, seconds);
  }
  const double bytes = static_cast<double>(c.bytes);
  state.counters["GB/s"] = bytes * static_cast<double>(state.iterations()) / total * 1e-9;
  state.counters["copy%"] = 100 * bytes * static_cast<double>(state.iterations()) / total / copy;
  state.counters["best%"] = 100 * bytes / best / copy;
}

void Register(const std::vector<Case>& cases, DType dtype) {
  for (const Case& c : cases) {
    for (int threads : {1, 2}) {
      const std::string name = std::string(Name(dtype)) + "/" + c.name + "/threads" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& s) { RunCase(s, c, dtype, threads); })
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

void RegisterAll() {
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    const int64_t e = static_cast<int64_t>(SizeOf(dtype));
    Register(Norms(e), dtype);
    Register(Activations(e), dtype);
    Register(Columns(e), dtype);
    Register(Tokens(e), dtype);
  }
  Register(Optimizer(), DType::kF32);
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (int threads : {1, 2})
    std::printf("%d threads: copy %.1f GB/s\n", threads, lorikeet::CopyBandwidth(threads) * 1e-9);
  std::fflush(stdout);
  benchmark::RunSpecifiedBenchmarks();
}
