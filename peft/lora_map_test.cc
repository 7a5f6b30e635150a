#include "peft/lora_map.h"

#include <memory>
#include <vector>

#include "autograd/tape.h"
#include "gtest/gtest.h"
#include "nn/dense_map.h"
#include "peft/adapter_run.h"
#include "peft/testing.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/random.h"
#include "tensor/ops/testing.h"

namespace lorikeet {
namespace {

using tensor::Dot;
using tensor::IsClose;
using tensor::IsGradient;
using tensor::RandomTensor;
using tensor::Values;

constexpr int64_t kIn = 7, kOut = 5, kRank = 3, kTokens = 4;

// A map in f64 with its factors, an input and the gradient of its output.
struct Case {
  explicit Case(float dropout, DType dtype = DType::kF64)
      : a(RandomTensor({kRank, kIn}, dtype, 1)),
        b(RandomTensor({kOut, kRank}, dtype, 2)),
        x(RandomTensor({kTokens, kIn}, dtype, 3)),
        dy(RandomTensor({kTokens, kOut}, dtype, 4)),
        map(RandomBase(kIn, kOut, dtype, 5), {.a = a, .b = b, .scaling = 0.75f, .dropout = dropout}, &run, 17) {}

  double Loss(const Tensor& at) { return Dot(map.Apply(at).value(), dy); }
  // Records one pass and goes back through it; returns dx.
  Tensor Backward() {
    Tensor dx;
    Tape tape;
    const Variable leaf = tape.Leaf(x, [&](Tensor g) { dx = g; });
    tape.Backward(map.Apply(leaf), dy);
    return dx;
  }
  Tensor Grad(const char* name) { return LeavesOf(map).at(name)->grad; }

  AdapterRun run{.key = {.seed = 9}, .training = true};
  Tensor a, b, x, dy;
  LoraMap map;
};

// d(loss)/d(parameter) by moving the parameter's own memory, which is put back afterwards.
template <typename C>
testing::AssertionResult IsParameterGradient(C& c, const char* name, Tensor& parameter) {
  const Tensor before = parameter.Clone();
  const auto loss = [&](const Tensor& moved) {
    tensor::CopyInto(moved, parameter);
    return c.Loss(c.x);
  };
  const testing::AssertionResult result = IsGradient(c.Grad(name), loss, before);
  tensor::CopyInto(before, parameter);
  return result;
}

TEST(LoraMapTest, GradientsAreCentralDifferences) {
  Case c(/*dropout=*/0);
  EXPECT_TRUE(IsGradient(
      c.Backward(), [&](const Tensor& x) { return c.Loss(x); }, c.x));
  EXPECT_TRUE(IsParameterGradient(c, "lora_A.weight", c.a));
  EXPECT_TRUE(IsParameterGradient(c, "lora_B.weight", c.b));
}

TEST(LoraMapTest, GradientsAreCentralDifferencesUnderDropout) {
  Case c(/*dropout=*/0.4f);
  EXPECT_TRUE(IsGradient(
      c.Backward(), [&](const Tensor& x) { return c.Loss(x); }, c.x));
  EXPECT_TRUE(IsParameterGradient(c, "lora_A.weight", c.a));
  EXPECT_TRUE(IsParameterGradient(c, "lora_B.weight", c.b));
}

TEST(LoraMapTest, ValueIsTheMergedWeightTimesX) {
  Case c(/*dropout=*/0);
  const Tensor want = tensor::MatMul(c.x, c.map.Merged(), false, true);
  EXPECT_TRUE(IsClose(c.map.Apply(c.x).value(), Values(want), 1e-12));
  Tensor y = Tensor::Zeros({kTokens, kOut}, DType::kF64);
  c.map.Forward(c.x, y, {});
  EXPECT_TRUE(IsClose(y, Values(want), 1e-12));
}

TEST(LoraMapTest, InputGradIsTheGradientOfApply) {
  Case c(/*dropout=*/0);
  Tensor dx = Tensor::Zeros({kTokens, kIn}, DType::kF64);
  c.map.InputGrad(c.dy, dx, {});
  EXPECT_TRUE(IsClose(c.Backward(), Values(dx), 1e-12));
}

TEST(LoraMapTest, DropoutTouchesOnlyTheFactorsAndOnlyInTraining) {
  Case c(/*dropout=*/0.4f);
  Tensor want = Tensor::Zeros({kTokens, kOut}, DType::kF64);
  c.map.base().Forward(c.x, want, {});
  const Tensor dropped = tensor::Dropout(c.x, 0.4f, c.run.key.Fold(17));
  const Tensor u = tensor::MatMul(dropped, c.a, false, true);
  tensor::MatMulInto(want, u, false, c.b, true, 0.75f, 1);
  EXPECT_TRUE(IsClose(c.map.Apply(c.x).value(), Values(want), 1e-12));
  c.run.training = false;
  const Tensor evaluated = tensor::MatMul(c.x, c.map.Merged(), false, true);
  EXPECT_TRUE(IsClose(c.map.Apply(c.x).value(), Values(evaluated), 1e-12));
}

TEST(LoraMapTest, MicroBatchesAddTheirGradients) {
  Case c(/*dropout=*/0);
  c.Backward();
  const std::vector<double> once = Values(c.Grad("lora_B.weight"));
  c.Backward();
  std::vector<double> twice = once;
  for (double& v : twice) v *= 2;
  EXPECT_TRUE(IsClose(c.Grad("lora_B.weight"), twice, 1e-12));
}

TEST(LoraMapTest, StartsAsTheBaseToTheBit) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor x = RandomTensor({kTokens, kIn}, dtype, 3);
    std::unique_ptr<LinearMap> base = RandomBase(kIn, kOut, dtype, 5);
    const Tensor want = base->Apply(x).value();
    LoraMap map(
        std::move(base),
        {.a = RandomTensor({kRank, kIn}, DType::kF32, 1), .b = Tensor::Zeros({kOut, kRank}, DType::kF32), .scaling = 2},
        nullptr, 0);
    EXPECT_TRUE(SameBytes(map.Apply(x).value(), want)) << Name(dtype);
  }
}

TEST(LoraMapTest, TrainsInF32AroundABaseInBf16) {
  const Tensor x = RandomTensor({kTokens, kIn}, DType::kBF16, 3), dy = RandomTensor({kTokens, kOut}, DType::kBF16, 4);
  Case exact(/*dropout=*/0);
  LoraMap map(std::make_unique<DenseMap>(exact.map.base().Dense().Cast(DType::kBF16)),
              {.a = exact.a.Cast(DType::kF32), .b = exact.b.Cast(DType::kF32), .scaling = 0.75f}, nullptr, 0);
  Tape tape;
  const Variable y = map.Apply(x);
  EXPECT_EQ(y.dtype(), DType::kBF16);
  tape.Backward(y, dy);
  exact.Backward();
  for (const char* name : {"lora_A.weight", "lora_B.weight"}) {
    const Tensor grad = LeavesOf(map).at(name)->grad;
    EXPECT_EQ(grad.dtype(), DType::kF32);
    EXPECT_TRUE(IsClose(grad, Values(exact.Grad(name)), 0.05)) << name;
  }
}

}  // namespace
}  // namespace lorikeet
