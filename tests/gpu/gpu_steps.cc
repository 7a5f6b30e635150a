#include "tests/gpu/gpu_steps.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/text/batches.h"
#include "apps/text/dataset.h"
#include "apps/training/trainer.h"
#include "nn/causal_lm.h"
#include "nn/linear_map.h"
#include "nn/load.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "peft/inject.h"
#include "quant/nf4.h"
#include "quant/nf4_map.h"
#include "tensor/check.h"
#include "tensor/default_allocator.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/io/tensor_source.h"
#include "tensor/random.h"
#include "tests/benchmarks/random_weights.h"

namespace lorikeet {
namespace {

constexpr int kSteps = 3;
constexpr int64_t kRank = 16;

ModelConfig LlamaShape(int64_t vocab, int64_t hidden, int64_t inter, int64_t layers, int64_t heads, int64_t kv_heads) {
  ModelConfig c;
  c.vocab_size = vocab;
  c.hidden_size = hidden;
  c.intermediate_size = inter;
  c.num_layers = layers;
  c.num_heads = heads;
  c.num_kv_heads = kv_heads;
  c.head_dim = 128;
  c.rms_norm_eps = 1e-6f;
  c.tie_word_embeddings = true;  // the head's product is the same, and a matrix less to make
  return c;
}

absl::StatusOr<std::unique_ptr<LinearMap>> FourBit(absl::string_view name, const MapSlot& slot,
                                                   const TensorSource& source) {
  if (slot.embedding) return DenseFactory(DType::kBF16, false)(name, slot, source);
  const absl::StatusOr<Tensor> w = ReadWeight(source, name, slot);
  if (!w.ok()) return w.status();
  absl::StatusOr<Nf4Tensor> q = QuantizeNf4(*w);
  if (!q.ok()) return q.status();
  return std::make_unique<Nf4Map>(*std::move(q));
}

std::unique_ptr<CausalLm> MakeModel(const GpuStep& s, AdapterRun* run) {
  std::unique_ptr<CausalLm> lm = BuildModel(s.config, DType::kBF16);
  const MapFactory factory = s.four_bit ? MapFactory(FourBit) : DenseFactory(DType::kBF16, false);
  const absl::Status loaded = LoadWeights(*lm, RandomWeights(s.config, Cuda(0)), factory, false, nullptr);
  LORIKEET_CHECK(loaded.ok()) << loaded;
  AdapterConfig adapter;
  adapter.r = kRank;
  adapter.use_dora = s.dora;
  const absl::StatusOr<InjectReport> report = Inject(*lm, adapter, RngKey{.seed = 2}, run);
  LORIKEET_CHECK(report.ok()) << report.status();
  lm->set_gradient_checkpointing(s.checkpointing);
  return lm;
}

std::vector<text::Example> RandomRows(const GpuStep& s) {
  std::vector<text::Example> rows(static_cast<size_t>(s.sequences * s.accumulation));
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t t = 0; t < s.length; ++t) {
      const uint32_t bits = Philox(RngKey{.seed = 3}.Fold(i), static_cast<uint64_t>(t)).v[0];
      rows[i].tokens.push_back(static_cast<int32_t>(bits % static_cast<uint32_t>(s.config.vocab_size)));
      rows[i].loss_mask.push_back(true);
    }
  }
  return rows;
}

double UsefulFlops(const GpuStep& s) {
  const ModelConfig& c = s.config;
  const int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim, h = c.hidden_size;
  const int64_t linear = 2 * h * q + 2 * h * kv + 3 * h * c.intermediate_size;
  const int64_t adapter = kRank * (2 * (h + q) + 2 * (h + kv) + 3 * (h + c.intermediate_size));
  const int64_t rows = s.sequences * s.accumulation, tokens = rows * s.length;
  const int64_t pairs = rows * s.length * (s.length + 1) / 2;
  const double layer = 4.0 * static_cast<double>(linear * tokens) + 6.0 * static_cast<double>(adapter * tokens) +
                       12.0 * static_cast<double>(q * pairs);
  return static_cast<double>(c.num_layers) * layer + 4.0 * static_cast<double>(c.vocab_size * h * tokens);
}

}  // namespace

std::vector<GpuStep> GpuSteps() {
  const ModelConfig llama8 = LlamaShape(128256, 4096, 14336, 32, 32, 8);
  const ModelConfig qwen8 = LlamaShape(151936, 4096, 12288, 36, 32, 8),
                    qwen06 = LlamaShape(151936, 1024, 3072, 28, 16, 8);
  return {
      {.name = "qwen3-8b/lora", .config = qwen8},
      {.name = "qwen3-8b/qlora", .config = qwen8, .four_bit = true},
      {.name = "qwen3-8b/dora", .config = qwen8, .dora = true},
      {.name = "qwen3-0.6b/lora", .config = qwen06},
      {.name = "qwen3-0.6b/qlora", .config = qwen06, .four_bit = true},
      {.name = "llama3-8b/qlora-4x2048-checkpointing",
       .config = llama8,
       .four_bit = true,
       .checkpointing = true,
       .sequences = 4,
       .accumulation = 1},
      {.name = "llama3-8b/qlora-1x2048-checkpointing",
       .config = llama8,
       .four_bit = true,
       .checkpointing = true,
       .sequences = 1,
       .accumulation = 1},
  };
}

GpuStepResult MeasureStep(const GpuStep& s) {
  AdapterRun run;
  const std::unique_ptr<CausalLm> lm = MakeModel(s, &run);
  const std::vector<Parameter*> parameters = TrainableParameters(*lm);
  const Schedule schedule(ScheduleType::kConstant, 1e-4, 0, kSteps + 1);
  auto store = std::make_unique<ResidentStore>(StateElements(parameters), DType::kF32, Cuda(0));
  AdamW adamw(parameters, {}, std::move(store));
  const std::vector<text::Example> rows = RandomRows(s);
  const text::SequenceStream stream(&rows, {.max_seq_length = s.length});
  Trainer trainer(*lm, parameters, adamw, schedule, &run, stream,
                  {.batch_size = s.sequences, .gradient_accumulation_steps = s.accumulation, .key = {}});
  DeviceMemory().ResetPeak();
  GpuStepResult out;
  out.seconds = 1e30;
  out.flops = UsefulFlops(s);
  for (int step = 0; step <= kSteps; ++step) {
    const absl::StatusOr<StepResult> r = trainer.Step(step);
    LORIKEET_CHECK(r.ok()) << r.status();
    out.tokens = r->tokens;
    out.loss = r->loss;
    if (step > 0) out.seconds = std::min(out.seconds, r->seconds);  // the first one fills the caches
  }
  out.peak_bytes = DeviceMemory().peak_bytes();
  return out;
}

}  // namespace lorikeet
