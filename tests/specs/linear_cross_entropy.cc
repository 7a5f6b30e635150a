#include "nn/linear_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/softmax.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "nn/dense_map.h"
#include "nn/module.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/ops/testing.h"
#include "tests/testing/matchers.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

using Targets = std::vector<int32_t>;
constexpr int64_t kHidden = 9, kVocab = 13;

Tensor Ints(const Targets& t) { return Tensor::From<int32_t>(t, {static_cast<int64_t>(t.size())}); }
Tensor HeadWeight() { return tensor::RandomTensor({kVocab, kHidden}, DType::kF64, 7, -1, 1); }

// -scale * sum over the rows with a target of log_softmax(softcap*tanh(h*W^T/softcap))[target].
Variable Reference(const Variable& h, const Variable& w, const Targets& targets, const LinearCrossEntropyOptions& o) {
  std::vector<double> picked(targets.size() * kVocab);
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] >= 0) picked[i * kVocab + static_cast<size_t>(targets[i])] = -o.scale;
  }
  Variable logits = MatMul(h, w, false, true);
  if (o.softcap > 0) logits = Scale(Tanh(Scale(logits, 1.0 / o.softcap)), o.softcap);
  const Shape shape = {static_cast<int64_t>(targets.size()), kVocab};
  return Sum(Mul(LogSoftmax(logits), tensor::FromDoubles(picked, shape, DType::kF64)));
}

OpSpec FrozenHead(const std::string& name, const Targets& targets, const LinearCrossEntropyOptions& o) {
  const int64_t answers = std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
  const int64_t tokens = static_cast<int64_t>(targets.size());
  return {.name = name,
          .inputs = {{"h", {tokens, kHidden}}},
          .op =
              [=](In in) {
                DenseMap head(HeadWeight().Cast(in[0].dtype()).To(DeviceOf(in)));
                return LinearCrossEntropy(in[0], head, Ints(targets), o);
              },
          .reference = [=](In in) { return Reference(in[0], HeadWeight(), targets, o); },
          .saved = "dh[" + std::to_string((answers + 1) * kHidden) + "] i32[" + std::to_string(tokens) + "]",
          .slack = 12};
}

std::vector<OpSpec> FrozenHeadSpecs() {
  const Targets some = {2, 0, -1, 12, 5, -1, 3};
  return {FrozenHead("LinearCrossEntropy", some, {.scale = 0.25f}),
          FrozenHead("LinearCrossEntropyInChunks", some, {.scale = 0.25f, .chunk = 2}),
          FrozenHead("LinearCrossEntropySoftcap", some, {.scale = 0.25f, .softcap = 1.5f, .chunk = 3}),
          FrozenHead("LinearCrossEntropyOfOneRow", {4}, {}),
          FrozenHead("LinearCrossEntropyAllMasked", {-1, -1, -1}, {}),
          FrozenHead("LinearCrossEntropyOfNoRows", {}, {})};
}

INSTANTIATE_TEST_SUITE_P(LinearCrossEntropy, OpSpecTest, testing::ValuesIn(FrozenHeadSpecs()), SpecName);

// The gradient that a Backward left in the head; zeros if there is none.
Tensor GradientOf(DenseMap& head) {
  class Find : public Visitor {
   public:
    Tensor grad = Tensor::Zeros({kVocab, kHidden}, DType::kF64);

   protected:
    void VisitLeaf(absl::string_view, Parameter& p) override {
      if (p.grad.defined()) grad = p.grad.Clone();
    }
  } find;
  head.Visit(find);
  return find.grad;
}

void ProveTrainableHead(const Targets& targets, const LinearCrossEntropyOptions& o) {
  DenseMap head(Parameter{.name = "head", .value = HeadWeight()});
  const Tensor h = tensor::RandomTensor({static_cast<int64_t>(targets.size()), kHidden}, DType::kF64, 1);
  const auto dy = [](const Tensor&) { return Tensor::Scalar(-1.75, DType::kF64); };
  const OpRun want = RunOp([&](In in) { return Reference(in[0], in[1], targets, o); }, {h, HeadWeight()}, dy);
  const Op loss = [&](In in) { return LinearCrossEntropy(in[0], head, Ints(targets), o); };
  const OpRun got = RunOp(loss, {h}, dy);
  EXPECT_TRUE(AllClose(got.y, want.y, 1e-12));
  EXPECT_TRUE(AllClose(got.grads[0], want.grads[0], 1e-12));
  EXPECT_TRUE(AllClose(GradientOf(head), want.grads[1], 1e-12));
  RunOp(loss, {h}, dy);  // the next micro-batch adds
  EXPECT_TRUE(AllClose(GradientOf(head), tensor::Scale(want.grads[1], 2), 1e-12));
}

TEST(TrainableHeadTest, BothGradientsAreThoseOfTheComposition) {
  ProveTrainableHead({2, 0, -1, 12, 5, -1, 3}, {.scale = 0.25f});
  ProveTrainableHead({2, 0, -1, 12, 5, -1, 3}, {.scale = 0.25f, .softcap = 1.5f, .chunk = 2});
}

TEST(TrainableHeadTest, AllRowsMaskedGiveZeroLossAndZeroGradients) {
  ProveTrainableHead({-1, -1}, {});
  ProveTrainableHead({}, {});
}

TEST(TrainableHeadTest, ItTrainsUnderFrozenRows) {
  DenseMap head(Parameter{.name = "head", .value = HeadWeight()});
  const Variable h = tensor::RandomTensor({2, kHidden}, DType::kF64, 1);
  Tape tape;
  const Variable loss = LinearCrossEntropy(h, head, Ints({4, 1}), {});
  ASSERT_TRUE(loss.needs_grad());
  tape.Backward(loss, Tensor::Scalar(1, DType::kF64));
  const OpRun want = RunOp(
      [&](In in) {
        return Reference(h, in[0], {4, 1}, {});
      },
      {HeadWeight()}, [](const Tensor&) { return Tensor::Scalar(1, DType::kF64); });
  EXPECT_TRUE(AllClose(GradientOf(head), want.grads[0], 1e-12));
}

TEST(TrainableHeadTest, ATiedHeadAddsIntoTheEmbeddingsGradient) {
  DenseMap tied(Parameter{.name = "embed", .value = HeadWeight()});
  const Targets ids = {3, 3, 8}, targets = {1, -1, 3};
  Tape tape;
  const Variable h = tied.Lookup(Ints(ids), DType::kF64);
  tape.Backward(LinearCrossEntropy(h, tied, Ints(targets), {}), Tensor::Scalar(1, DType::kF64));
  const auto loss = [&](const Tensor& w) {
    DenseMap moved(w);
    return LinearCrossEntropy(moved.Rows(Ints(ids), DType::kF64), moved, Ints(targets), {}).value().item();
  };
  EXPECT_TRUE(tensor::IsGradient(GradientOf(tied), loss, HeadWeight()));
}

TEST(LossCountsTest, CountRowsWithATargetTheirLossAndHits) {
  const Tensor h = Tensor::From<float>({9, 0, 0, 9, 9, 0}, {3, 2}), w = Tensor::From<float>({1, 0, 0, 1}, {2, 2});
  DenseMap head(w);
  RowLosses rows;
  const Variable loss = LinearCrossEntropy(h, head, Ints({0, 0, -1}), {.scale = 0.5f}, &rows);
  const LossCounts counts = CountLosses(rows);
  EXPECT_EQ(counts.tokens, 2);
  EXPECT_EQ(counts.correct, 1);
  EXPECT_NEAR(counts.loss_sum, 9 + 2 * std::log1p(std::exp(-9.0)), 1e-5);
  EXPECT_NEAR(loss.value().item(), counts.loss_sum / 2, 1e-6);
}

TEST(LinearCrossEntropyDeathTest, WrongShapesAndTargetsOutsideTheVocabularyAbort) {
  DenseMap head(HeadWeight());
  const Tensor h = tensor::RandomTensor({2, kHidden}, DType::kF64, 1);
  EXPECT_DEATH(LinearCrossEntropy(h, head, Ints({1}), {}), "expected .tokens,hidden. and i32.tokens.");
  EXPECT_DEATH(LinearCrossEntropy(h, head, Ints({1, 13}), {}), "13");
}

}  // namespace
}  // namespace lorikeet
