// Training and generating on a CUDA device: the losses of the CPU, the same bits each time, and paged optimizer state
// that cannot be told from resident state.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/model/decode_graphs.h"
#include "apps/model/nf4_factory.h"
#include "apps/text/batches.h"
#include "apps/training/trainer.h"
#include "autograd/tape.h"
#include "gtest/gtest.h"
#include "nn/batch.h"
#include "nn/causal_lm.h"
#include "nn/host_embedding.h"
#include "nn/kv_cache.h"
#include "nn/layer_runner.h"
#include "nn/load.h"
#include "optim/adamw.h"
#include "optim/cuda_paged_store.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "optim/state_block.h"
#include "peft/adapter_config.h"
#include "peft/inject.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/ops/testing.h"
#include "tests/testing/tiny_lm.h"

namespace lorikeet {
namespace {

// Simulated kernels take half a second a step.
const int64_t kSteps = CudaIsSimulated() ? 3 : 20;

struct Setting {
  std::string name, model = "llama_untied";
  bool whole = false, four_bit = false, dora = false;
  double dropout = 0;
  bool paged = false;
  Checkpointing checkpointing = Checkpointing::kOff;
  bool host_embedding = false;
  DType state = DType::kF32;
  bool graphs = false;
  std::vector<int64_t> tokens = {};  // whose rows of the embedding train
  bool alone = false;                // a row to a batch, in place of packed sequences
};

struct Outcome {
  std::vector<double> losses;
  int64_t graph_launches = 0;
  std::vector<Tensor> values;  // of the parameters that trained, on the CPU
};

std::unique_ptr<CausalLm> Load(const Setting& s, Device device) {
  const MapFactory factory = s.four_bit ? Nf4Factory(DType::kF32) : DenseFactory(DType::kF32, s.whole);
  return TinyLm(s.model, s.host_embedding ? EmbeddingsInHostMemory(factory) : factory, s.whole, device);
}

std::unique_ptr<StateStore> StoreFor(const Setting& s, int64_t elements, Device device) {
  if (!s.paged) return std::make_unique<ResidentStore>(elements, s.state, device);
  auto paged = CudaPagedStore::Create(elements, s.state,
                                      {.budget_bytes = 64 << 10, .page_elements = 4 * BlockElements(s.state)});
  LORIKEET_CHECK(paged.ok()) << paged.status();
  return *std::move(paged);
}

Outcome Train(const Setting& s, Device device) {
  const std::unique_ptr<CausalLm> lm = Load(s, device);
  lm->set_gradient_checkpointing(s.checkpointing);
  AdapterRun run;
  AdapterConfig config;
  config.use_dora = s.dora;
  config.lora_dropout = s.dropout;
  if (!s.tokens.empty()) config.trainable_token_indices = {{"", s.tokens}};
  if (!s.whole) {
    EXPECT_TRUE(Inject(*lm, config, RngKey{.seed = 1}, &run).ok());
  }
  const std::vector<Parameter*> parameters = TrainableParameters(*lm);
  for (const Parameter* p : parameters) EXPECT_EQ(p->value.device(), device) << p->name;
  const std::vector<text::Example> examples = RandomExamples(8, 3);
  const text::SequenceStream stream(&examples, {.max_seq_length = 32, .packing = !s.alone, .shuffle = false});
  AdamW optimizer(parameters, {}, StoreFor(s, StateElements(parameters, s.state), device));
  const Schedule schedule(ScheduleType::kConstant, s.whole ? 1e-3 : 1e-2, 0, kSteps);
  Trainer trainer(*lm, parameters, optimizer, schedule, &run, stream,
                  {.batch_size = s.alone ? 1 : 2,
                   .gradient_accumulation_steps = 2,
                   .max_grad_norm = 1,
                   .key = {.seed = 4},
                   .cuda_graphs = s.graphs && device.is_cuda()});
  Outcome out;
  for (int64_t step = 0; step < kSteps; ++step) {
    const absl::StatusOr<StepResult> r = trainer.Step(step);
    EXPECT_TRUE(r.ok()) << r.status();
    if (r.ok()) out.losses.push_back(r->loss);
  }
  for (const Parameter* p : parameters) out.values.push_back(p->value.To(kCpu));
  out.graph_launches = trainer.graph_launches();
  return out;
}

void ExpectSameBits(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.losses, b.losses);
  ASSERT_EQ(a.values.size(), b.values.size());
  for (size_t i = 0; i < a.values.size(); ++i) EXPECT_TRUE(tensor::SameBits(a.values[i], b.values[i])) << i;
}

class CudaTrainingTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

TEST_P(CudaTrainingTest, LossesAreTheCpusAndTheBitsRepeat) {
  const Outcome there = Train(GetParam(), Cuda(0)), here = Train(GetParam(), kCpu);
  ASSERT_EQ(there.losses.size(), static_cast<size_t>(kSteps));
  for (size_t i = 0; i < here.losses.size(); ++i) {
    EXPECT_TRUE(std::abs(there.losses[i] - here.losses[i]) <= 1e-3 * here.losses[i])
        << "step " << i + 1 << ": " << there.losses[i] << " on the device, " << here.losses[i] << " on the CPU";
  }
  ExpectSameBits(Train(GetParam(), Cuda(0)), there);
  // All but the first of two micro-batches a step: they have one shape.
  EXPECT_EQ(there.graph_launches, GetParam().graphs ? 2 * kSteps - 1 : 0);
}

INSTANTIATE_TEST_SUITE_P(
    Methods, CudaTrainingTest,
    testing::Values(
        Setting{.name = "Lora"},
        Setting{.name = "LoraWithDropout", .dropout = 0.1, .checkpointing = Checkpointing::kSelective},
        Setting{.name = "Qlora", .four_bit = true}, Setting{.name = "Dora", .dora = true},
        Setting{.name = "QdoraWithCheckpointing", .four_bit = true, .dora = true, .checkpointing = Checkpointing::kOn},
        Setting{.name = "LoraWithOffload", .checkpointing = Checkpointing::kOffload, .host_embedding = true},
        Setting{.name = "Whole", .model = "llama_tied", .whole = true}, Setting{.name = "Gpt2", .model = "gpt2"},
        Setting{.name = "Gemma2", .model = "gemma2"}, Setting{.name = "LoraInGraphs", .dropout = 0.1, .graphs = true},
        Setting{.name = "QloraInGraphs", .four_bit = true, .checkpointing = Checkpointing::kOn, .graphs = true},
        Setting{.name = "WholeInGraphs", .model = "llama_tied", .whole = true, .graphs = true},
        Setting{
            .name = "DoraInGraphs", .dora = true, .dropout = 0.1, .checkpointing = Checkpointing::kOn, .graphs = true},
        Setting{.name = "Gemma2InGraphs", .model = "gemma2", .host_embedding = true, .graphs = true},
        // Rows of 4 to 11 tokens, padded, on both sides of the original context of 8: the device says which
        // frequencies.
        Setting{.name = "LongRope", .model = "phi3_long", .graphs = true, .alone = true},
        Setting{.name = "TokensInGraphs", .model = "llama_tied", .graphs = true, .tokens = {3, 96, 17}}),
    [](const testing::TestParamInfo<Setting>& info) { return info.param.name; });

TEST(CudaPagedTrainingTest, PagedStateGivesTheBitsOfResidentState) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  for (const DType state : {DType::kF32, DType::kU8}) {
    Setting s = {.name = "Lora", .state = state};
    const Outcome resident = Train(s, Cuda(0));
    s.paged = true;
    ExpectSameBits(Train(s, Cuda(0)), resident);
  }
}

// The tokens with the largest logits, one after another.
std::vector<int32_t> Greedy(const Setting& s, Device device) {
  const std::unique_ptr<CausalLm> lm = Load(s, device);
  const ModelConfig& c = lm->config();
  KvCache cache(c.num_layers, 32, c.num_kv_heads, c.head_dim, DType::kF32, device);
  Tape::Pause pause;
  std::vector<int32_t> all, next = {3, 14, 15, 92, 6};
  while (all.size() < 16) {
    const Tensor h = lm->Hidden(OneSequence(next, cache.length(), device), &cache).value();
    const Tensor logits = lm->Logits(h.Slice(0, h.dim(0) - 1, h.dim(0))).To(kCpu);
    const absl::Span<const float> row = logits.data<float>();
    next = {static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin())};
    all.push_back(next[0]);
  }
  return all;
}

TEST(CudaGenerationTest, GreedyTokensAreTheCpus) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  for (const Setting& s : {Setting{.name = "f32"}, Setting{.name = "nf4", .four_bit = true}}) {
    EXPECT_EQ(Greedy(s, Cuda(0)), Greedy(s, kCpu)) << s.name;
  }
}

// The same kernels on the same numbers, past a change of the views' length.
TEST(CudaGenerationTest, GraphsHaveTheBitsOfPlainPasses) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  for (const Setting& s : {Setting{.name = "f32"}, Setting{.name = "nf4", .model = "gemma2", .four_bit = true}}) {
    SCOPED_TRACE(s.name);
    const std::unique_ptr<CausalLm> lm = Load(s, Cuda(0));
    const ModelConfig& c = lm->config();
    const auto cache = [&] { return KvCache(c.num_layers, 300, c.num_kv_heads, c.head_dim, DType::kF32, Cuda(0)); };
    KvCache plain = cache(), captured = cache();
    DecodeGraphs graphs(lm.get(), &captured);
    Tape::Pause pause;
    const std::vector<int32_t> prompt(250, 7);
    lm->Hidden(OneSequence(prompt, 0, Cuda(0)), &plain);
    lm->Hidden(OneSequence(prompt, 0, Cuda(0)), &captured);
    for (int32_t token = 1; token <= 10; ++token) {
      const Tensor want = lm->Logits(lm->Hidden(OneSequence({token}, plain.length(), Cuda(0)), &plain).value());
      ASSERT_TRUE(tensor::SameBits(graphs.Next(token).To(kCpu), want.To(kCpu))) << "token " << token;
    }
    EXPECT_EQ(captured.length(), 260);
    EXPECT_EQ(graphs.launches(), 8);  // all but the first of either length
    captured.Truncate(255);           // a turn of a conversation goes back
    plain.Truncate(255);
    const Tensor want = lm->Logits(lm->Hidden(OneSequence({3}, 255, Cuda(0)), &plain).value());
    EXPECT_TRUE(tensor::SameBits(graphs.Next(3).To(kCpu), want.To(kCpu)));
  }
}

}  // namespace
}  // namespace lorikeet
