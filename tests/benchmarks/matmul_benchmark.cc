// Matrix products of a training step of SmolLM2-135M, as fractions of the peak measured in the same process.
//
//   bazel run -c opt //tests/benchmarks:matmul_benchmark -- --benchmark_filter='bf16/.*M1024'
//
// Names: dtype/product/tokens/out x in/threads. fwd: y = x*W^T. dx: dy*W. lora: u = x*A^T (rank 16), y += u*B^T,
// dA = du^T*x, dB = dy^T*u, du = dy*B. peak%: of the dot-product (bf16) or multiply-add (f32)
// peak, over all iterations; best%: in the fastest one, which other processes disturbed least.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/peak.h"
#include "tensor/ops/matmul.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::MatMulInto;

double Peak(DType dtype, int threads) {
  static std::map<std::pair<DType, int>, double> peaks;
  double& peak = peaks[{dtype, threads}];
  if (peak == 0) peak = MeasurePeakFlops(dtype, threads);
  return peak;
}

// One product y [m,n] = op(a)*op(b) with k terms.
struct Case {
  std::string name;
  int64_t m, n, k;
  bool ta, tb;
  float beta;
  DType y;
};

void RunCase(benchmark::State& state, const Case& c, DType dtype, int threads) {
  const double peak = Peak(dtype, threads);
  SetNumThreads(threads);
  const Tensor a = Tensor::Full(c.ta ? Shape{c.k, c.m} : Shape{c.m, c.k}, 0.5, dtype);
  const Tensor b = Tensor::Full(c.tb ? Shape{c.n, c.k} : Shape{c.k, c.n}, 0.5, dtype);
  Tensor y = Tensor::Zeros({c.m, c.n}, c.y);
  MatMulInto(y, a, c.ta, b, c.tb, 1, c.beta);  // scratch memory exists from here on
  double total = 0, best = 1e30;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    MatMulInto(y, a, c.ta, b, c.tb, 1, c.beta);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    total += seconds;
    best = std::min(best, seconds);
  }
  const double flops = 2.0 * static_cast<double>(c.m) * static_cast<double>(c.n) * static_cast<double>(c.k);
  state.counters["GFLOP/s"] = flops * static_cast<double>(state.iterations()) / total * 1e-9;
  state.counters["peak%"] = 100 * flops * static_cast<double>(state.iterations()) / total / peak;
  state.counters["best%"] = 100 * flops / best / peak;
}

void Register(const Case& c, DType dtype) {
  for (int threads : {1, 2}) {
    const std::string name = std::string(Name(dtype)) + "/" + c.name + "/threads" + std::to_string(threads);
    benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& s) { RunCase(s, c, dtype, threads); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

void RegisterLinear(int64_t tokens, int64_t out, int64_t in, DType dtype) {
  const std::string shape = "/M" + std::to_string(tokens) + "/" + std::to_string(out) + "x" + std::to_string(in);
  constexpr int64_t kRank = 16;
  Register({"fwd" + shape, tokens, out, in, false, true, 0, dtype}, dtype);
  Register({"dx" + shape, tokens, in, out, false, false, 0, dtype}, dtype);
  if (out > 4096) return;
  Register({"lora_u" + shape, tokens, kRank, in, false, true, 0, dtype}, dtype);
  Register({"lora_y" + shape, tokens, out, kRank, false, true, 1, dtype}, dtype);
  Register({"lora_du" + shape, tokens, kRank, out, false, false, 0, dtype}, dtype);
  Register({"lora_dA" + shape, kRank, in, tokens, true, false, 1, DType::kF32}, dtype);
  Register({"lora_dB" + shape, out, kRank, tokens, true, false, 1, DType::kF32}, dtype);
}

void RegisterAll() {
  constexpr std::pair<int64_t, int64_t> kLinears[] = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    for (int64_t tokens : {256, 1024}) {
      for (const auto& [out, in] : kLinears) RegisterLinear(tokens, out, in, dtype);
    }
    for (int64_t rows : {1, 4}) {
      for (const auto& [out, in] : kLinears) {
        const std::string name = "generate/M" + std::to_string(rows) + "/" + std::to_string(out) + "x";
        Register({name + std::to_string(in), rows, out, in, false, true, 0, dtype}, dtype);
      }
    }
  }
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (int threads : {1, 2}) {
    std::printf("%d threads: bf16 %.1f GFLOP/s, f32 %.1f GFLOP/s, copy %.1f GB/s\n", threads,
                lorikeet::Peak(lorikeet::DType::kBF16, threads) * 1e-9,
                lorikeet::Peak(lorikeet::DType::kF32, threads) * 1e-9, lorikeet::MeasureCopyBandwidth(threads) * 1e-9);
  }
  std::fflush(stdout);
  benchmark::RunSpecifiedBenchmarks();
}
