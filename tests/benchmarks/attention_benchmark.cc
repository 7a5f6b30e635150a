// Causal grouped-query attention as SmolLM2-135M has it (9 heads over 3, head size 64), as a fraction of the f32
// multiply-add peak measured in the same process: scores and sums are f32 for every dtype.
//
//   bazel run -c opt //tests/benchmarks:attention_benchmark -- --benchmark_filter='bf16/.*T256/threads1'
//
// Names: dtype/pass/sequences x tokens/threads. Useful operations only: a causal pair of a query and a key costs 2
// products of size d forward and 5 backward. decode: one new token against T cached ones. peak%: over all iterations;
// best%: in the fastest one, which others disturbed least.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/peak.h"
#include "tensor/ops/attention.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr int64_t kHeads = 9, kKvHeads = 3, kHeadDim = 64;

double Peak(int threads) {
  static double peaks[3] = {};
  double& peak = peaks[threads];
  if (peak == 0) peak = MeasurePeakFlops(DType::kF32, threads);
  return peak;
}

Tensor Random(const Shape& shape, DType dtype, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(shape.size()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 4 * ToUnitFloat(Philox({seed}, i).v[0]) - 2;
  return Tensor::From(absl::MakeConstSpan(values), shape).Cast(dtype);
}

Tensor Seqlens(int64_t sequences, int64_t tokens) {
  std::vector<int32_t> cu;
  for (int64_t i = 0; i <= sequences; ++i) cu.push_back(static_cast<int32_t>(i * tokens));
  return Tensor::From(absl::MakeConstSpan(cu), {sequences + 1});
}

struct Case {
  DType dtype;
  bool backward;
  int64_t sequences, queries, keys;  // queries and keys of each sequence
  int threads;

  double flops() const {
    const double pairs = static_cast<double>(queries) * static_cast<double>(2 * keys - queries + 1) / 2;
    const double products = backward ? 5 : 2;
    return static_cast<double>(sequences * kHeads) * pairs * products * 2 * kHeadDim;
  }
};

void RunCase(benchmark::State& state, const Case& c) {
  const double peak = Peak(c.threads);
  SetNumThreads(c.threads);
  const Tensor q = Random({c.sequences * c.queries, kHeads, kHeadDim}, c.dtype, 1);
  const Tensor k = Random({c.sequences * c.keys, kKvHeads, kHeadDim}, c.dtype, 2);
  const Tensor v = Random({c.sequences * c.keys, kKvHeads, kHeadDim}, c.dtype, 3);
  const tensor::AttentionArgs args{
      .cu_seqlens_q = Seqlens(c.sequences, c.queries), .cu_seqlens_k = Seqlens(c.sequences, c.keys), .scale = 0.125f};
  const auto [y, lse] = tensor::Attention(q, k, v, args);
  double total = 0, best = 1e30;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    if (c.backward) {
      benchmark::DoNotOptimize(tensor::AttentionGrad(q, q, k, v, y, lse, args).dq.raw());
    } else {
      benchmark::DoNotOptimize(tensor::Attention(q, k, v, args).y.raw());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    total += seconds;
    best = std::min(best, seconds);
  }
  state.counters["GFLOP/s"] = c.flops() * static_cast<double>(state.iterations()) / total * 1e-9;
  state.counters["peak%"] = 100 * c.flops() * static_cast<double>(state.iterations()) / total / peak;
  state.counters["best%"] = 100 * c.flops() / best / peak;
}

void Register(const std::string& pass, const Case& c) {
  const std::string name = std::string(Name(c.dtype)) + "/" + pass + "/" + std::to_string(c.sequences) + "xT" +
                           std::to_string(c.keys) + "/threads" + std::to_string(c.threads);
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& s) { RunCase(s, c); })
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

void RegisterAll() {
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    for (int threads : {1, 2}) {
      for (const auto& [sequences, tokens] : {std::pair<int64_t, int64_t>{1, 256}, {4, 256}, {2, 512}, {1, 2048}}) {
        Register("forward", {dtype, false, sequences, tokens, tokens, threads});
        Register("backward", {dtype, true, sequences, tokens, tokens, threads});
      }
      Register("decode", {dtype, false, 1, 1, 1024, threads});
    }
  }
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (int threads : {1, 2}) std::printf("%d threads: f32 %.1f GFLOP/s\n", threads, lorikeet::Peak(threads) * 1e-9);
  std::fflush(stdout);
  benchmark::RunSpecifiedBenchmarks();
}
