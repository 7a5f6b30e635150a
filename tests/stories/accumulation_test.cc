// The loss of an optimizer step is the mean over all its answer tokens, however they are split into micro-batches.
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/text/batches.h"
#include "apps/text/dataset.h"
#include "apps/training/trainer.h"
#include "gtest/gtest.h"
#include "nn/causal_lm.h"
#include "nn/dense_map.h"
#include "nn/linear_map.h"
#include "nn/load.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/adapter_config.h"
#include "peft/inject.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/random.h"
#include "tests/testing/tiny_lm.h"

namespace lorikeet {
namespace {

struct Gradients {
  double loss = 0;
  std::map<std::string, Tensor> by_name;
};

Gradients GradientsOf(int64_t batch_size, int64_t accumulation, bool packing) {
  const std::unique_ptr<CausalLm> lm = TinyLm("llama_untied", DenseFactory(DType::kF32, false));
  AdapterConfig config;
  EXPECT_TRUE(Inject(*lm, config, RngKey{.seed = 1}, nullptr).ok());
  std::vector<Parameter*> parameters = TrainableParameters(*lm);
  for (size_t i = 0; i < parameters.size(); ++i) {  // B starts at zero, which would hide half the gradients
    parameters[i]->value = tensor::Normal(parameters[i]->value.shape(), 0, 0.1, RngKey{.seed = 2}.Fold(i), DType::kF32);
  }
  const std::vector<text::Example> examples = RandomExamples(8, 3);
  const text::SequenceStream stream(&examples, {.max_seq_length = 32, .packing = packing, .shuffle = false});
  AdamW optimizer(parameters, {}, std::make_unique<ResidentStore>(StateElements(parameters)));
  const Schedule schedule(ScheduleType::kConstant, 0, 0, 1);
  Trainer trainer(
      *lm, parameters, optimizer, schedule, nullptr, stream,
      {.batch_size = batch_size, .gradient_accumulation_steps = accumulation, .max_grad_norm = 0, .key = {}});
  StepResult result;
  EXPECT_TRUE(trainer.AccumulateGradients(0, &result).ok());
  Gradients g{result.loss, {}};
  for (const Parameter* p : parameters) g.by_name[p->name] = p->grad;
  return g;
}

void ExpectEqual(const Gradients& a, const Gradients& b) {
  EXPECT_NEAR(a.loss, b.loss, 1e-6 * std::abs(a.loss));
  for (const auto& [name, grad] : a.by_name) {
    const Tensor &x = grad, &y = b.by_name.at(name);
    double largest = 0;
    for (float v : x.data<float>()) largest = std::max(largest, std::abs(static_cast<double>(v)));
    ASSERT_GT(largest, 0) << name;
    for (size_t i = 0; i < static_cast<size_t>(x.size()); ++i) {
      ASSERT_TRUE(std::abs(x.data<float>()[i] - y.data<float>()[i]) <= 1e-6 * std::max(1.0, largest))
          << name << "[" << i << "]";
    }
  }
}

TEST(AccumulationTest, OneBatchOfEightEqualsTwoOfFourAndEightOfOne) {
  const Gradients whole = GradientsOf(8, 1, false);
  ExpectEqual(whole, GradientsOf(4, 2, false));
  ExpectEqual(whole, GradientsOf(1, 8, false));
}

TEST(AccumulationTest, PackedRowsDoNotSeeEachOther) {
  // All eight rows in packs: the same rows, so the same gradient as unpacked.
  const std::vector<text::Example> examples = RandomExamples(8, 3);
  const text::SequenceStream stream(&examples, {.max_seq_length = 32, .packing = true, .shuffle = false});
  const int64_t packs = stream.sequences_per_epoch();
  ASSERT_LT(packs, 8);
  ExpectEqual(GradientsOf(8, 1, false), GradientsOf(packs, 1, true));
}

// A frozen matrix that looks, whenever it is used, for parameters that are not cast ahead.
class Watching : public DenseMap {
 public:
  explicit Watching(Tensor w) : DenseMap(std::move(w)) {}
  void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const override {
    ++uses;
    for (const Parameter* p : parameters) not_cast += !p->cast.defined();
    DenseMap::Forward(x, y, e);
  }
  static inline std::vector<Parameter*> parameters;
  static inline int uses = 0, not_cast = 0;
};

TEST(AccumulationTest, APassHasItsFactorsCastAhead) {
  const MapFactory watching = [](absl::string_view name, const MapSlot& slot,
                                 const TensorSource& source) -> absl::StatusOr<std::unique_ptr<LinearMap>> {
    const auto dense = DenseFactory(DType::kBF16, false)(name, slot, source);
    if (!dense.ok()) return dense.status();
    return std::make_unique<Watching>((*dense)->Dense());
  };
  const std::unique_ptr<CausalLm> lm = TinyLm("llama_untied", watching, false, kCpu, DType::kBF16);
  AdapterConfig config;
  ASSERT_TRUE(Inject(*lm, config, RngKey{.seed = 1}, nullptr).ok());
  const std::vector<Parameter*> parameters = TrainableParameters(*lm);
  const std::vector<text::Example> examples = RandomExamples(8, 3);
  const text::SequenceStream stream(&examples, {.max_seq_length = 32, .shuffle = false});
  AdamW optimizer(parameters, {}, std::make_unique<ResidentStore>(StateElements(parameters)));
  const Schedule schedule(ScheduleType::kConstant, 0, 0, 1);
  Trainer trainer(*lm, parameters, optimizer, schedule, nullptr, stream, {.batch_size = 4, .key = {}});
  Watching::parameters = parameters;
  StepResult result;
  ASSERT_TRUE(trainer.AccumulateGradients(0, &result).ok());
  EXPECT_GT(Watching::uses, 0);
  EXPECT_EQ(Watching::not_cast, 0);
  for (const Parameter* p : parameters) EXPECT_FALSE(p->cast.defined()) << p->name;
}

}  // namespace
}  // namespace lorikeet
