// What the kernels and a training step do on a GPU: fractions of the card's own copy bandwidth and product rate,
// measured in the same process.
//
//   gpu_benchmark --benchmark_filter='op/bf16/.*' --benchmark_out=results.json --benchmark_out_format=json
//
// Names: op/DTYPE/NAME with copy%: what an op cannot do without, every input read once and every output written once,
// at Llama-3-8B's sizes and 8192 tokens. matmul/DTYPE/MxNxK, attention/... with TFLOP/s and peak%: of the best product
// of this process. step/SHAPE/METHOD: whole training steps, tokens/s, MFU% (useful operations over that peak) and the
// most memory that tensors had. Times are the device's, by events. --layers=N cuts the models of step/... short, for a
// profiler that looks at every kernel.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "quant/nf4.h"
#include "quant/nf4_matmul.h"
#include "tensor/cuda_memory.h"
#include "tensor/cuda_stream.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/activation.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/column_scale.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/gather.h"
#include "tensor/ops/layer_norm.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/norm.h"
#include "tensor/ops/random.h"
#include "tensor/ops/reduce.h"
#include "tensor/ops/rope.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/ops/softmax.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "tests/gpu/gpu_steps.h"

namespace lorikeet {
namespace {

constexpr int64_t kTokens = 8192, kHidden = 4096, kInter = 14336, kHeads = 32, kHeadDim = 128, kVocab = 128256;
constexpr int64_t kLogitRows = 1024;

using Run = std::function<void()>;

Tensor Noise(const Shape& shape, DType dtype, uint64_t seed) {
  return tensor::Uniform(shape, -2, 2, RngKey{.seed = seed}, dtype, Cuda(0));
}

Tensor Ints(int64_t n, int64_t below) {
  std::vector<int32_t> v;
  for (int64_t i = 0; i < n; ++i) {
    v.push_back(static_cast<int32_t>(Philox({7}, static_cast<uint64_t>(i)).v[0] % static_cast<uint32_t>(below)));
  }
  return Tensor::From<int32_t>(v, {n}, Cuda(0));
}

// Seconds of one call on the device, after some that warm up: the best of three rounds, since a device that is kept
// busy lowers its clock.
double SecondsOf(const Run& run) {
  const auto time = [&](int calls) {
    const CudaEvent begin = CudaEvent::Of(ComputeStream());
    for (int i = 0; i < calls; ++i) run();
    const CudaEvent end = CudaEvent::Of(ComputeStream());
    end.Synchronize();
    return 1e-3 * end.MillisecondsSince(begin) / calls;
  };
  const double once = std::max(time(3), 1e-6);
  const int calls = std::clamp(static_cast<int>(0.03 / once), 3, 1000);
  return std::min({time(calls), time(calls), time(calls)});
}

double CopyBandwidth() {
  static const double best = [] {
    const Tensor x = Tensor::Zeros({int64_t{1} << 28}, DType::kF32, Cuda(0));
    Tensor y = Tensor::Empty(x.shape(), x.dtype(), Cuda(0));
    return 2.0 * static_cast<double>(x.nbytes()) / SecondsOf([&] { tensor::CopyInto(x, y); });
  }();
  return best;
}

double ProductSeconds(DType dtype, int64_t m, int64_t n, int64_t k) {
  const Tensor x = Noise({m, k}, dtype, 1), w = Noise({n, k}, dtype, 2);
  Tensor y = Tensor::Empty({m, n}, dtype, Cuda(0));
  return SecondsOf([&] { tensor::MatMulInto(y, x, false, w, true, 1, 0); });
}

double PeakFlops(DType dtype) {
  const auto measure = [](DType t) { return 2.0 * 8192 * 8192 * 8192 / ProductSeconds(t, 8192, 8192, 8192); };
  static const double bf16_peak = measure(DType::kBF16), f32_peak = measure(DType::kF32);
  return dtype == DType::kF32 ? f32_peak : bf16_peak;
}

void Register(const std::string& name, std::function<void(benchmark::State&)> body) {
  benchmark::RegisterBenchmark(name.c_str(), [body](benchmark::State& s) { body(s); })
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMicrosecond);
}

// An op that moves `bytes`; its tensors are made when its turn comes.
void Moves(DType dtype, const std::string& name, int64_t bytes, std::function<Run()> make) {
  Register("op/" + std::string(Name(dtype)) + "/" + name, [=](benchmark::State& state) {
    const Run run = make();
    double seconds = 0;
    for (auto _ : state) state.SetIterationTime(seconds = SecondsOf(run));
    state.counters["GB/s"] = static_cast<double>(bytes) / seconds * 1e-9;
    state.counters["copy%"] = 100 * static_cast<double>(bytes) / seconds / CopyBandwidth();
  });
}

void Computes(const std::string& name, DType dtype, double flops, std::function<Run()> make) {
  Register(name, [=](benchmark::State& state) {
    const Run run = make();
    double seconds = 0;
    for (auto _ : state) state.SetIterationTime(seconds = SecondsOf(run));
    state.counters["TFLOP/s"] = flops / seconds * 1e-12;
    state.counters["peak%"] = 100 * flops / seconds / PeakFlops(dtype);
  });
}

void RegisterNorms(DType t, int64_t e) {
  const int64_t row = kTokens * kHidden * e;
  const auto x = [t](uint64_t seed) { return Noise({kTokens, kHidden}, t, seed); };
  const auto w = [] { return Noise({kHidden}, DType::kF32, 9); };
  Moves(t, "rms_norm", 2 * row, [=]() -> Run { return [x = x(1), w = w()] { tensor::RmsNorm(x, w, 1e-5f); }; });
  Moves(t, "add_rms_norm", 4 * row,
        [=]() -> Run { return [x = x(1), r = x(2), w = w()] { tensor::AddRmsNorm(x, r, w, 1e-5f); }; });
  Moves(t, "add_rms_norm_grad", 4 * row, [=]() -> Run {
    const Tensor a = x(1), scale = w();
    return [=, dy = x(2), dsum = x(3), rstd = tensor::RmsNorm(a, scale, 1e-5f).rstd] {
      tensor::AddRmsNormGrad(dy, dsum, a, scale, rstd, false);
    };
  });
  Moves(t, "layer_norm", 2 * row,
        [=]() -> Run { return [x = x(1), w = w(), b = w()] { tensor::LayerNorm(x, w, b, 1e-5f); }; });
}

void RegisterElementwise(DType t, int64_t e) {
  const int64_t row = kTokens * kInter * e;
  const auto x = [t](uint64_t seed) { return Noise({kTokens, kInter}, t, seed); };
  Moves(t, "swiglu", 3 * row, [=]() -> Run { return [g = x(1), u = x(2)] { tensor::SwiGlu(g, u); }; });
  Moves(t, "swiglu_grad", 5 * row,
        [=]() -> Run { return [dy = x(1), g = x(2), u = x(3)] { tensor::SwiGluGrad(dy, g, u); }; });
  Moves(t, "geglu", 3 * row, [=]() -> Run { return [g = x(1), u = x(2)] { tensor::GeGlu(g, u); }; });
  Moves(t, "add", 3 * row, [=]() -> Run { return [a = x(1), b = x(2)] { tensor::Add(a, b); }; });
  Moves(t, "add_row", 2 * row, [=]() -> Run { return [a = x(1), b = Noise({kInter}, t, 2)] { tensor::Add(a, b); }; });
  Moves(t, "dropout", 2 * row, [=]() -> Run { return [a = x(1)] { tensor::Dropout(a, 0.1, RngKey{.seed = 1}); }; });
  Moves(t, "cast_to_f32", row + 4 * kTokens * kInter,
        [=]() -> Run { return [a = x(1)] { a.dtype() == DType::kF32 ? a.Clone() : a.Cast(DType::kF32); }; });
  Moves(t, "transpose", 2 * row, [=]() -> Run { return [a = x(1).Transpose(0, 1)] { a.Clone(); }; });
  Moves(t, "column_scale_grad", 3 * row, [=]() -> Run {
    return [dy = x(1), y = x(2), g = Noise({kInter}, DType::kF32, 3)] { tensor::ColumnScaleGrad(dy, y, g); };
  });
  Moves(t, "sum_all", row, [=]() -> Run { return [a = x(1)] { tensor::SumAll(a); }; });
}

void RegisterTokens(DType t, int64_t e) {
  Moves(t, "rope", 2 * kTokens * kHeads * kHeadDim * e, [=]() -> Run {
    const auto table = tensor::MakeRopeTable(Ints(kTokens, 4096), tensor::RopeFrequencies(5e5, kHeadDim));
    return [table, x = Noise({kTokens, kHeads, kHeadDim}, t, 1)] { tensor::Rope(x, table); };
  });
  Moves(t, "embedding", 2 * kTokens * kHidden * e, [=]() -> Run {
    return [w = Noise({kVocab, kHidden}, t, 1), ids = Ints(kTokens, kVocab)] { tensor::GatherRows(w, ids); };
  });
  Moves(t, "softmax", 2 * kLogitRows * kVocab * e, [=]() -> Run {
    return [x = Noise({kLogitRows, kVocab}, t, 1)] { tensor::Softmax(x); };
  });
  // f32 logits are read, their gradient is written in the dtype.
  Moves(t, "cross_entropy_grad", kLogitRows * kVocab * (4 + e), [=]() -> Run {
    return [t, x = Noise({kLogitRows, kVocab}, DType::kF32, 1), ids = Ints(kLogitRows, kVocab),
            scale = Tensor::Scalar(1e-3, DType::kF32, Cuda(0))] {
      Tensor dx = Tensor::Empty(x.shape(), t, Cuda(0));
      tensor::CrossEntropyInto(x, ids, scale, 0, dx);
    };
  });
}

// Generation's products. Weights take turns, so that they come from memory as they do there, not from the L2 cache.
void RegisterFewRows() {
  constexpr int64_t kBytes = int64_t{1} << 28;
  const int64_t shapes[][2] = {{kHidden, kHidden}, {1024, kHidden}, {kInter, kHidden}, {kHidden, kInter}};
  for (const auto& shape : shapes) {
    const int64_t n = shape[0], k = shape[1];
    for (const int64_t m : {1, 4}) {
      const std::string name = std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
      Moves(DType::kBF16, "nf4_matmul/" + name, n * k / 2 + n * k / 64, [=]() -> Run {
        std::vector<Nf4Tensor> weights;
        for (int64_t i = 0; i < kBytes / (n * k / 2); ++i) {
          weights.push_back(*QuantizeNf4(Noise({n, k}, DType::kBF16, 1)));
        }
        return [weights, x = Noise({m, k}, DType::kBF16, 2), y = Tensor::Empty({m, n}, DType::kBF16, Cuda(0)),
                turn = size_t{0}]() mutable { MatMulNf4Into(y, x, weights[turn++ % weights.size()], true, {}); };
      });
    }
  }
}

void RegisterWeights() {
  const int64_t n = kInter * kHidden;
  Moves(DType::kBF16, "nf4_dequantize", n / 2 + n / 64 + 2 * n, [=]() -> Run {
    const absl::StatusOr<Nf4Tensor> q = QuantizeNf4(Noise({kInter, kHidden}, DType::kBF16, 1));
    return [q = *q] { Dequantize(q, DType::kBF16); };
  });
  // As 48 adapters' factors, updated in one launch.
  Moves(DType::kF32, "adamw", 28 * 48 * (int64_t{1} << 20), []() -> Run {
    auto parameters = std::make_shared<std::vector<Parameter>>(48);
    std::vector<Parameter*> all;
    for (Parameter& p : *parameters) {
      p.name = "w" + std::to_string(all.size());
      p.value = Noise({1024, 1024}, DType::kF32, 1);
      p.grad = Noise({1024, 1024}, DType::kF32, 2);
      all.push_back(&p);
    }
    auto store = std::make_unique<ResidentStore>(StateElements(all), DType::kF32, Cuda(0));
    auto adamw = std::make_shared<AdamW>(all, AdamWOptions{}, std::move(store));
    return [parameters, adamw] { benchmark::DoNotOptimize(adamw->Step(1e-6).ok()); };
  });
}

void RegisterProducts() {
  const int64_t shapes[][2] = {{kHidden, kHidden}, {1024, kHidden}, {kInter, kHidden}, {kHidden, kInter}};
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    for (const auto& shape : shapes) {
      const int64_t n = shape[0], k = shape[1];
      for (int64_t m : {int64_t{1}, int64_t{512}, kTokens}) {
        const std::string name = "matmul/" + std::string(Name(dtype)) + "/" + std::to_string(m) + "x" +
                                 std::to_string(n) + "x" + std::to_string(k);
        Computes(name, dtype, 2.0 * static_cast<double>(m * n * k), [=]() -> Run {
          return
              [x = Noise({m, k}, dtype, 1), w = Noise({n, k}, dtype, 2),
               y = Tensor::Empty({m, n}, dtype, Cuda(0))]() mutable { tensor::MatMulInto(y, x, false, w, true, 1, 0); };
        });
      }
    }
  }
}

// Causal: half of all pairs. Two products forward, five backward.
void RegisterAttention() {
  constexpr int64_t kSequences = 4, kLength = 2048;
  const double pair = 2.0 * kHeadDim * kHeads * kSequences * kLength * (kLength + 1) / 2;
  for (const int64_t kv_heads : {int64_t{32}, int64_t{8}}) {
    const auto make = [=](bool backward) -> Run {
      const Shape kv = {kSequences * kLength, kv_heads, kHeadDim};
      const Tensor q = Noise({kSequences * kLength, kHeads, kHeadDim}, DType::kBF16, 1);
      const Tensor k = Noise(kv, DType::kBF16, 2), v = Noise(kv, DType::kBF16, 3);
      std::vector<int32_t> cu;
      for (int32_t i = 0; i <= kSequences; ++i) cu.push_back(i * static_cast<int32_t>(kLength));
      const Tensor ends = Tensor::From<int32_t>(cu, {kSequences + 1}, Cuda(0));
      const tensor::AttentionArgs args = {.cu_seqlens_q = ends, .cu_seqlens_k = ends, .scale = 0.088f};
      if (!backward) return [=] { tensor::Attention(q, k, v, args); };
      const tensor::AttentionResult r = tensor::Attention(q, k, v, args);
      return [=] { tensor::AttentionGrad(q, q, k, v, r.y, r.lse, args); };
    };
    const std::string shape = "4x2048x32x128/kv" + std::to_string(kv_heads);
    Computes("attention/forward/" + shape, DType::kBF16, 2 * pair, [=] { return make(false); });
    Computes("attention/backward/" + shape, DType::kBF16, 5 * pair, [=] { return make(true); });
  }
}

// layers: 0 for all that the model has.
void RegisterSteps(int64_t layers) {
  for (GpuStep step : GpuSteps()) {
    if (layers > 0) step.config.num_layers = layers;
    Register("step/" + step.name, [step](benchmark::State& state) {
      GpuStepResult r;
      for (auto _ : state) {
        r = MeasureStep(step);
        state.SetIterationTime(r.seconds);
      }
      state.counters["tokens/s"] = static_cast<double>(r.tokens) / r.seconds;
      state.counters["MFU%"] = 100 * r.flops / r.seconds / PeakFlops(DType::kBF16);
      state.counters["peak_MB"] = 1e-6 * static_cast<double>(r.peak_bytes);
      state.counters["loss"] = r.loss;
    });
  }
}

// A token reads every weight once: the share is that of copying as many bytes.
void RegisterGenerations() {
  for (const GpuStep& step : GpuGenerations()) {
    Register("generate/" + step.name, [step](benchmark::State& state) {
      GpuGenerationResult r;
      for (auto _ : state) {
        r = MeasureGeneration(step);
        state.SetIterationTime(r.seconds);
      }
      state.counters["tokens/s"] = 1 / r.seconds;
      state.counters["copy%"] = 100 * static_cast<double>(r.weight_bytes) / r.seconds / CopyBandwidth();
    });
  }
}

// --layers=N, taken out of the arguments; 0 without it.
int64_t TakeLayers(int* argc, char** argv) {
  int64_t layers = 0;
  char** const end = std::remove_if(
      argv + 1, argv + *argc, [&](const char* arg) { return std::sscanf(arg, "--layers=%" SCNd64, &layers) == 1; });
  *argc = static_cast<int>(end - argv);
  return layers;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  using namespace lorikeet;
  if (!CudaUnavailable().empty() || CudaIsSimulated()) {
    std::fprintf(stderr, "gpu_benchmark: %s\n",
                 CudaIsSimulated() ? "the simulator has no speed" : CudaUnavailable().c_str());
    return 2;
  }
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    const int64_t e = static_cast<int64_t>(SizeOf(dtype));
    RegisterNorms(dtype, e);
    RegisterElementwise(dtype, e);
    RegisterTokens(dtype, e);
  }
  RegisterWeights();
  RegisterFewRows();
  RegisterProducts();
  RegisterAttention();
  RegisterSteps(TakeLayers(&argc, argv));
  RegisterGenerations();
  benchmark::AddCustomContext("device", CudaDeviceName());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  std::printf("%s: copy %.0f GB/s, products bf16 %.0f, f32 %.1f TFLOP/s\n", CudaDeviceName().c_str(),
              CopyBandwidth() * 1e-9, PeakFlops(DType::kBF16) * 1e-12, PeakFlops(DType::kF32) * 1e-12);
  std::fflush(stdout);
  benchmark::RunSpecifiedBenchmarks();
}
