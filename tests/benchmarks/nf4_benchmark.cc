// Products with NF4 weights beside the same products with bf16 weights; quantizing and dequantizing.
//
//   bazel run -c opt //tests/benchmarks:nf4_benchmark -- --benchmark_filter='M1024'
//
// Names: product/tokens/out x in/threads. fwd: y = x*W^T. dx: dy*W. Both weights are timed in turn within one loop:
// bf16%: rate of the NF4 product relative to the bf16 one; peak%: NF4, of the dot-product peak (both at their best
// iteration). generate: one or four rows with weights out of cache; GB/s counts codes and f32 scales, read% sets
// it against the measured bandwidth of reading.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "quant/nf4.h"
#include "quant/nf4_matmul.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/peak.h"
#include "tensor/ops/matmul.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr std::pair<int64_t, int64_t> kLinears[] = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {4096, 4096}};

template <typename F>
double Seconds(F&& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Tensor Ramp(int64_t rows, int64_t cols, DType dtype) {
  Tensor w = Tensor::Empty({rows, cols}, DType::kF32);
  uint32_t bits = 1;
  for (float& v : w.data<float>())
    v = static_cast<float>(static_cast<int32_t>(bits = bits * 1664525u + 1013904223u)) * 0x1p-31f;
  return w.Cast(dtype);
}

void Product(benchmark::State& state, int64_t tokens, int64_t out, int64_t in, bool transpose, int threads) {
  const double peak = MeasurePeakFlops(DType::kBF16, threads);
  SetNumThreads(threads);
  const Tensor dense = Ramp(out, in, DType::kBF16);
  const Nf4Tensor w = *QuantizeNf4(dense);
  const Tensor x = Ramp(tokens, transpose ? in : out, DType::kBF16);
  Tensor y = Tensor::Empty({tokens, transpose ? out : in}, DType::kBF16);
  double nf4 = 1e30, bf16 = 1e30;
  for (auto _ : state) {
    bf16 = std::min(bf16, Seconds([&] { tensor::MatMulInto(y, x, false, dense, transpose); }));
    nf4 = std::min(nf4, Seconds([&] { MatMulNf4Into(y, x, w, transpose, {}); }));
  }
  state.counters["bf16%"] = 100 * bf16 / nf4;
  state.counters["peak%"] = 100 * 2.0 * static_cast<double>(tokens * out * in) / nf4 / peak;
}

void Generate(benchmark::State& state, int64_t tokens, int64_t out, int64_t in, int threads) {
  const double read = MeasureReadBandwidth(threads);
  SetNumThreads(threads);
  const Nf4Tensor one = *QuantizeNf4(Ramp(out, in, DType::kBF16));
  std::vector<Nf4Tensor> layers;  // together beyond any cache
  for (int64_t bytes = 0; bytes < 300'000'000; bytes += one.nbytes()) {
    layers.push_back(one);
    layers.back().codes = one.codes.Clone();
    layers.back().scales = one.scales.Clone();
  }
  const Tensor x = Ramp(tokens, in, DType::kBF16);
  Tensor y = Tensor::Empty({tokens, out}, DType::kBF16);
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, Seconds([&] {
                      for (const Nf4Tensor& w : layers) MatMulNf4Into(y, x, w, true, {});
                    }));
  }
  const double bytes = 0.5625 * static_cast<double>(out * in) * static_cast<double>(layers.size());
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["read%"] = 100 * bytes / best / read;
}

void Codec(benchmark::State& state, bool decode, DType dtype) {
  SetNumThreads(1);
  const Tensor w = Ramp(1536, 4096, dtype);
  const Nf4Tensor q = *QuantizeNf4(w);
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, Seconds([&] {
                      if (decode)
                        benchmark::DoNotOptimize(Dequantize(q, dtype));
                      else
                        benchmark::DoNotOptimize(QuantizeNf4(w));
                    }));
  }
  state.counters["Mweights/s"] = static_cast<double>(w.size()) / best * 1e-6;
}

template <typename F>
void Register(const std::string& name, F f) {
  benchmark::RegisterBenchmark(name.c_str(), f)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

void RegisterAll() {
  for (int threads : {1, 2}) {
    for (const auto& [o, i] : kLinears) {
      const int64_t out = o, in = i;
      const std::string shape =
          "/" + std::to_string(out) + "x" + std::to_string(in) + "/threads" + std::to_string(threads);
      for (int64_t tokens : {256, 1024}) {
        const std::string m = "M" + std::to_string(tokens);
        Register("fwd/" + m + shape, [=](benchmark::State& s) { Product(s, tokens, out, in, true, threads); });
        Register("dx/" + m + shape, [=](benchmark::State& s) { Product(s, tokens, out, in, false, threads); });
      }
      for (int64_t tokens : {1, 4}) {
        Register("generate/M" + std::to_string(tokens) + shape,
                 [=](benchmark::State& s) { Generate(s, tokens, out, in, threads); });
      }
    }
  }
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    Register(std::string("quantize/") + Name(dtype), [=](benchmark::State& s) { Codec(s, false, dtype); });
    Register(std::string("dequantize/") + Name(dtype), [=](benchmark::State& s) { Codec(s, true, dtype); });
  }
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
