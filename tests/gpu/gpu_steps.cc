#include "tests/gpu/gpu_steps.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "apps/model/decode_graphs.h"
#include "apps/model/nf4_factory.h"
#include "apps/text/batches.h"
#include "apps/text/dataset.h"
#include "apps/training/trainer.h"
#include "apps/training/useful_flops.h"
#include "autograd/tape.h"
#include "nn/batch.h"
#include "nn/causal_lm.h"
#include "nn/host_embedding.h"
#include "nn/kv_cache.h"
#include "nn/load.h"
#include "optim/adamw.h"
#include "optim/cuda_paged_store.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "optim/state_store.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "peft/inject.h"
#include "tensor/check.h"
#include "tensor/default_allocator.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/random.h"
#include "tests/benchmarks/random_rows.h"
#include "tests/benchmarks/random_weights.h"

namespace lorikeet {
namespace {

constexpr int kSteps = 4;
constexpr int64_t kRank = 16;

struct Size {
  int64_t vocab, hidden, inter, layers, heads, kv_heads;
  bool tied;
  int64_t head_dim = 128;
};

ModelConfig LlamaShape(const Size& s) {
  ModelConfig c;
  c.vocab_size = s.vocab;
  c.hidden_size = s.hidden;
  c.intermediate_size = s.inter;
  c.num_layers = s.layers;
  c.num_heads = s.heads;
  c.num_kv_heads = s.kv_heads;
  c.head_dim = s.head_dim;
  c.rms_norm_eps = 1e-6f;
  c.tie_word_embeddings = s.tied;
  return c;
}

ModelConfig Llama3Of8B() { return LlamaShape({128256, 4096, 14336, 32, 32, 8, /*tied=*/false}); }
ModelConfig SmolLm2() { return LlamaShape({49152, 576, 1536, 30, 9, 3, /*tied=*/true, /*head_dim=*/64}); }

// Without adapters where `run` is null.
std::unique_ptr<CausalLm> MakeModel(const GpuStep& s, AdapterRun* run) {
  std::unique_ptr<CausalLm> lm = BuildModel(s.config, DType::kBF16);
  const MapFactory factory = s.four_bit ? Nf4Factory(DType::kBF16) : DenseFactory(DType::kBF16, false);
  const absl::Status loaded =
      LoadWeights(*lm, RandomWeights(s.config, Cuda(0)),
                  s.offload_embeddings ? EmbeddingsInHostMemory(factory) : factory, false, nullptr);
  LORIKEET_CHECK(loaded.ok()) << loaded;
  lm->set_gradient_checkpointing(s.checkpointing, s.checkpointed_layers);
  if (run == nullptr) return lm;
  AdapterConfig adapter;
  adapter.r = kRank;
  adapter.use_dora = s.dora;
  const absl::StatusOr<InjectReport> report = Inject(*lm, adapter, RngKey{.seed = 2}, run);
  LORIKEET_CHECK(report.ok()) << report.status();
  return lm;
}

std::unique_ptr<StateStore> StoreFor(const GpuStep& s, int64_t elements) {
  if (!s.paged) return std::make_unique<ResidentStore>(elements, DType::kF32, Cuda(0));
  absl::StatusOr<std::unique_ptr<CudaPagedStore>> paged =
      CudaPagedStore::Create(elements, DType::kF32, {.budget_bytes = 64 << 20});
  LORIKEET_CHECK(paged.ok()) << paged.status();
  return *std::move(paged);
}

// Of weights that a token reads whole: all but an embedding that is not the head too.
class ReadBytes : public Visitor {
 public:
  explicit ReadBytes(bool tied) : tied_(tied) {}
  int64_t bytes = 0;

 protected:
  void VisitLeaf(absl::string_view, Parameter& p) override { bytes += looked_up_ ? 0 : p.value.nbytes(); }
  void VisitBuffer(absl::string_view, Tensor& t, int64_t) override { bytes += looked_up_ ? 0 : t.nbytes(); }
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    looked_up_ = slot.embedding && !tied_;
    Visitor::VisitSlot(name, slot);
    looked_up_ = false;
  }

 private:
  const bool tied_;
  bool looked_up_ = false;
};

// But for what a step says of itself.
StepFlops FlopsOf(const ModelConfig& c, const std::vector<Parameter*>& adapter) {
  const int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim, h = c.hidden_size;
  StepFlops f;
  f.frozen_linear_weights = c.num_layers * (2 * h * q + 2 * h * kv + 3 * h * c.intermediate_size);
  for (const Parameter* p : adapter) f.adapter_weights += p->value.size();
  f.layers = c.num_layers;
  f.heads = c.num_heads;
  f.head_dim = c.head_dim;
  f.head_weights = c.vocab_size * h;
  return f;
}

}  // namespace

std::vector<GpuStep> GpuSteps() {
  const ModelConfig llama8 = Llama3Of8B(), smollm2 = SmolLm2();
  const ModelConfig qwen8 = LlamaShape({151936, 4096, 12288, 36, 32, 8, /*tied=*/false}),
                    qwen06 = LlamaShape({151936, 1024, 3072, 28, 16, 8, /*tied=*/true});
  const auto llama3 = [&](const char* how, int64_t sequences, Checkpointing checkpointing, int64_t layers) {
    return GpuStep{.name = "llama3-8b/qlora-" + std::to_string(sequences) + "x2048-" + how,
                   .config = llama8,
                   .four_bit = true,
                   .checkpointing = checkpointing,
                   .checkpointed_layers = layers,
                   .sequences = sequences,
                   .accumulation = 1};
  };
  return {
      {.name = "qwen3-8b/lora", .config = qwen8},
      {.name = "qwen3-8b/qlora", .config = qwen8, .four_bit = true},
      {.name = "qwen3-8b/dora", .config = qwen8, .dora = true},
      {.name = "qwen3-0.6b/lora", .config = qwen06},
      {.name = "qwen3-0.6b/qlora", .config = qwen06, .four_bit = true},
      {.name = "qwen3-0.6b/lora-graphs", .config = qwen06, .graphs = true},
      // So little work that giving it takes longer than doing it.
      {.name = "smollm2-135m/lora-4x256", .config = smollm2, .sequences = 4, .length = 256, .accumulation = 1},
      {.name = "smollm2-135m/lora-4x256-graphs",
       .config = smollm2,
       .graphs = true,
       .sequences = 4,
       .length = 256,
       .accumulation = 1},
      llama3("checkpointing", 4, Checkpointing::kOn, INT64_MAX),
      llama3("selective", 4, Checkpointing::kSelective, INT64_MAX),
      llama3("selective-29-layers", 4, Checkpointing::kSelective, 29),  // in seven tenths of the peer's memory
      llama3("checkpointing", 1, Checkpointing::kOn, INT64_MAX),
      {.name = "llama3-8b/qlora-1x2048-offload",
       .config = llama8,
       .four_bit = true,
       .checkpointing = Checkpointing::kOffload,
       .offload_embeddings = true,
       .paged = true,
       .sequences = 1,
       .accumulation = 1},
  };
}

GpuStepResult MeasureStep(const GpuStep& s) {
  AdapterRun run;
  const std::unique_ptr<CausalLm> lm = MakeModel(s, &run);
  const std::vector<Parameter*> parameters = TrainableParameters(*lm);
  const Schedule schedule(ScheduleType::kConstant, 1e-4, 0, kSteps + 1);
  AdamW adamw(parameters, {}, StoreFor(s, StateElements(parameters)));
  const std::vector<text::Example> rows =
      RandomRows(s.sequences * s.accumulation, s.length, s.config.vocab_size, /*answer_from=*/0);
  const text::SequenceStream stream(&rows, {.max_seq_length = s.length});
  Trainer trainer(
      *lm, parameters, adamw, schedule, &run, stream,
      {.batch_size = s.sequences, .gradient_accumulation_steps = s.accumulation, .key = {}, .cuda_graphs = s.graphs});
  GpuStepResult out;
  out.held_bytes = DeviceMemory().live_bytes();
  DeviceMemory().ResetPeak();
  out.seconds = 1e30;
  StepFlops flops = FlopsOf(s.config, parameters);
  const auto finish = [&](int64_t ahead) {
    while (trainer.in_flight() > ahead) {
      const absl::StatusOr<StepResult> r = trainer.Finish();
      LORIKEET_CHECK(r.ok()) << r.status();
      out.tokens = r->tokens;
      out.loss = r->loss;
      flops.tokens = r->tokens;
      flops.target_rows = r->answer_tokens;
      flops.causal_pairs = r->causal_pairs;
      if (r->step > 1) out.seconds = std::min(out.seconds, r->seconds);  // before, caches fill and graphs are captured
    }
  };
  for (int step = 0; step <= kSteps; ++step) {
    const absl::Status submitted = trainer.Submit(step);
    LORIKEET_CHECK(submitted.ok()) << submitted;
    finish(trainer.ahead());
  }
  finish(0);
  out.flops = UsefulFlopsPerStep(flops);
  out.peak_bytes = DeviceMemory().peak_bytes();
  return out;
}

std::vector<GpuStep> GpuGenerations() {
  std::vector<GpuStep> out;
  for (const bool graphs : {false, true}) {
    const std::string suffix = graphs ? "-graphs" : "";
    out.push_back({.name = "smollm2-135m/bf16" + suffix, .config = SmolLm2(), .graphs = graphs});
    out.push_back({.name = "llama3-8b/nf4" + suffix, .config = Llama3Of8B(), .four_bit = true, .graphs = graphs});
  }
  return out;
}

GpuGenerationResult MeasureGeneration(const GpuStep& s) {
  constexpr int32_t kWarm = 8, kTokens = 72;
  const std::unique_ptr<CausalLm> lm = MakeModel(s, nullptr);
  ReadBytes read(s.config.tie_word_embeddings);
  lm->Visit(read);
  GpuGenerationResult out;
  out.weight_bytes = read.bytes;
  KvCache cache(s.config.num_layers, 256, s.config.num_kv_heads, s.config.head_dim, DType::kBF16, Cuda(0));
  DecodeGraphs graphs(lm.get(), &cache);
  const Tape::Pause pause;
  DeviceMemory().ResetPeak();
  lm->Hidden(OneSequence(std::vector<int32_t>(128, 1), 0, Cuda(0)), &cache);
  std::chrono::steady_clock::time_point start;
  for (int32_t token = 0; token < kTokens; ++token) {
    if (token == kWarm) start = std::chrono::steady_clock::now();
    const Tensor logits = s.graphs
                              ? graphs.Next(token)
                              : lm->Logits(lm->Hidden(OneSequence({token}, cache.length(), Cuda(0)), &cache).value());
    logits.To(kCpu);
  }
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / (kTokens - kWarm);
  out.peak_bytes = DeviceMemory().peak_bytes();
  return out;
}

}  // namespace lorikeet
