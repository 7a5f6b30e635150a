// Steps that are submitted before the one ahead of them is finished: the same bits, and a loss that is not finite
// leaves everything as it was, although the host learns of it late.
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "apps/text/batches.h"
#include "apps/text/dataset.h"
#include "apps/training/trainer.h"
#include "gtest/gtest.h"
#include "nn/causal_lm.h"
#include "nn/load.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "peft/inject.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/testing.h"
#include "tests/testing/tiny_lm.h"

namespace lorikeet {
namespace {

constexpr int64_t kSteps = 2;

struct Setting {
  std::string name;
  bool cuda = false, graphs = false;
};

struct TrainingRun {
  explicit TrainingRun(const Setting& s) {
    const Device device = s.cuda ? Cuda(0) : kCpu;
    lm = TinyLm("llama_untied", DenseFactory(DType::kF32, false), false, device);
    EXPECT_TRUE(Inject(*lm, {}, RngKey{.seed = 1}, &run).ok());
    parameters = TrainableParameters(*lm);
    stream = std::make_unique<text::SequenceStream>(
        &examples, text::StreamOptions{.max_seq_length = 32, .packing = true, .shuffle = false});
    optimizer = std::make_unique<AdamW>(
        parameters, AdamWOptions{}, std::make_unique<ResidentStore>(StateElements(parameters), DType::kF32, device));
    trainer = std::make_unique<Trainer>(
        *lm, parameters, *optimizer, schedule, &run, *stream,
        TrainerOptions{.batch_size = 1, .max_grad_norm = 0.1, .key = {.seed = 4}, .cuda_graphs = s.graphs});
  }
  std::vector<Tensor> Values() const {
    std::vector<Tensor> all;
    for (const Parameter* p : parameters) all.push_back(p->value.To(kCpu).Clone());
    return all;
  }

  const std::vector<text::Example> examples = RandomExamples(8, 3);
  const Schedule schedule{ScheduleType::kConstant, 1e-2, 0, kSteps};
  AdapterRun run;
  std::unique_ptr<CausalLm> lm;
  std::vector<Parameter*> parameters;
  std::unique_ptr<text::SequenceStream> stream;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<Trainer> trainer;
};

void ExpectSame(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(tensor::SameBits(a[i], b[i])) << i;
}

class StepsAheadTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (GetParam().cuda && !CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

TEST_P(StepsAheadTest, HaveTheBitsOfStepsOneByOne) {
  TrainingRun one_by_one(GetParam()), ahead(GetParam());
  std::vector<StepResult> want, got;
  for (int64_t step = 0; step < kSteps; ++step) {
    const absl::StatusOr<StepResult> r = one_by_one.trainer->Step(step);
    ASSERT_TRUE(r.ok()) << r.status();
    want.push_back(*r);
  }
  for (int64_t step = 0; step < kSteps; ++step) ASSERT_TRUE(ahead.trainer->Submit(step).ok());
  EXPECT_EQ(ahead.trainer->in_flight(), kSteps);
  while (ahead.trainer->in_flight() > 0) got.push_back(*ahead.trainer->Finish());
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].step, static_cast<int64_t>(i));
    EXPECT_EQ(got[i].loss, want[i].loss);
    EXPECT_EQ(got[i].grad_norm, want[i].grad_norm);
    EXPECT_EQ(got[i].learning_rate, want[i].learning_rate);
    EXPECT_GT(got[i].grad_norm, 0.1);  // clipped
    EXPECT_GT(got[i].seconds, 0);
  }
  ExpectSame(ahead.Values(), one_by_one.Values());
  EXPECT_EQ(ahead.optimizer->steps(), kSteps);
}

TEST_P(StepsAheadTest, ALossThatIsNotFiniteTakesBackItsStepAndThoseAfterIt) {
  TrainingRun s(GetParam()), undisturbed(GetParam());
  ASSERT_TRUE(s.trainer->Step(0).ok());
  const std::vector<Tensor> before = s.Values();
  Tensor element = s.parameters[0]->value.Reshape({-1}).Slice(0, 0, 1);
  tensor::FillInPlace(element, std::nan(""));
  const std::vector<Tensor> poisoned = s.Values();
  ASSERT_TRUE(s.trainer->Submit(1).ok());
  ASSERT_TRUE(s.trainer->Submit(2).ok());
  const absl::StatusOr<StepResult> r = s.trainer->Finish();
  EXPECT_EQ(r.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(r.status().message(), "step 2: the loss is nan; nothing was updated")) << r.status();
  EXPECT_EQ(s.trainer->in_flight(), 0);
  EXPECT_EQ(s.optimizer->steps(), 1);
  ExpectSame(s.Values(), poisoned);
  // Healed, it goes on as if nothing had been.
  tensor::CopyInto(before[0].Reshape({-1}).Slice(0, 0, 1).To(element.device()), element);
  for (int64_t step = 0; step < kSteps; ++step) ASSERT_TRUE(undisturbed.trainer->Step(step).ok());
  for (int64_t step = 1; step < kSteps; ++step) ASSERT_TRUE(s.trainer->Step(step).ok());
  ExpectSame(s.Values(), undisturbed.Values());
}

INSTANTIATE_TEST_SUITE_P(Devices, StepsAheadTest,
                         testing::Values(Setting{"Cpu"}, Setting{"Cuda", true}, Setting{"CudaInGraphs", true, true}),
                         [](const testing::TestParamInfo<Setting>& info) { return info.param.name; });

}  // namespace
}  // namespace lorikeet
