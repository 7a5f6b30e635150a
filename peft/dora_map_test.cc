#include "peft/dora_map.h"

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/optional.h"
#include "autograd/tape.h"
#include "gtest/gtest.h"
#include "nn/dense_map.h"
#include "peft/adapter_run.h"
#include "peft/lora_map.h"
#include "peft/testing.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/testing.h"

namespace lorikeet {
namespace {

using tensor::Dot;
using tensor::FromDoubles;
using tensor::IsClose;
using tensor::IsGradient;
using tensor::RandomTensor;
using tensor::Values;

std::unique_ptr<LinearMap> Dense(const Tensor& w) { return std::make_unique<DenseMap>(w); }

// Row norms of W + s*B*A, by definition.
std::vector<double> DirectNorms(const Tensor& w, const Tensor& a, const Tensor& b, double s) {
  const std::vector<double> ws = Values(w), as = Values(a), bs = Values(b);
  const size_t out = static_cast<size_t>(w.dim(0)), in = static_cast<size_t>(w.dim(1)),
               r = static_cast<size_t>(a.dim(0));
  std::vector<double> norms;
  for (size_t o = 0; o < out; ++o) {
    double sum = 0;
    for (size_t i = 0; i < in; ++i) {
      double v = ws[o * in + i];
      for (size_t k = 0; k < r; ++k) v += s * bs[o * r + k] * as[k * in + i];
      sum += v * v;
    }
    norms.push_back(std::sqrt(sum));
  }
  return norms;
}

// A worked example in f64, computed with PyTorch's formulas by hand; the layer's bias is added outside the map.
struct WorkedExample {
  Tensor w = FromDoubles({.5, -1, .25, 2, .5, -.75}, {2, 3}, DType::kF64);
  Tensor a = FromDoubles({.1, -.2, .3}, {1, 3}, DType::kF64);
  Tensor b = FromDoubles({.4, -.5}, {2, 1}, DType::kF64);
  Tensor m = FromDoubles({1.5, 2}, {2}, DType::kF64);
  Tensor x = FromDoubles({1, 2, -1, .5, -.5, .25}, {2, 3}, DType::kF64);
  Tensor dy = FromDoubles({1, -1, .5, 2}, {2, 2}, DType::kF64);
  DoraMap map{Dense(w), {.a = a, .b = b, .scaling = 2}, m, nullptr, 0};
};

TEST(DoraMapTest, WorkedExampleHasItsNormValueAndMergedWeight) {
  WorkedExample e;
  EXPECT_TRUE(IsClose(e.map.Norm(), {1.386398211, 2.280898946}, 1e-9));
  // y less the bias (.1, -.2).
  EXPECT_TRUE(IsClose(e.map.Apply(e.x).value(), {-2.412726714, 3.814285599, 1.073825679, 0.295935952}, 1e-9));
  EXPECT_TRUE(
      IsClose(e.map.Merged(), {.627525334, -1.255050667, .530150713, 1.666009802, .613793085, -.920689627}, 1e-9));
}

TEST(DoraMapTest, WorkedExampleHasItsGradientsWithTheNormDetached) {
  WorkedExample e;
  Tensor dx;
  Tape tape;
  const Variable x = tape.Leaf(e.x, [&](Tensor g) { dx = g; });
  tape.Backward(e.map.Apply(x), e.dy);
  auto leaves = LeavesOf(e.map);
  // A gradient through the norm too would give dA = [0.357912, 2.806027, -1.039702].
  EXPECT_TRUE(IsClose(leaves.at("lora_A.weight")->grad, {1.081940230, 4.145258115, -2.072629057}, 1e-9));
  EXPECT_TRUE(IsClose(leaves.at("lora_B.weight")->grad, {-1.054891725, 1.841379254}, 1e-9));
  EXPECT_TRUE(IsClose(leaves.at("lora_magnitude_vector")->grad, {-1.250542583, -1.611206848}, 1e-9));
  EXPECT_TRUE(IsClose(dx, {-1.038484468, -1.868843752, 1.450840340, 3.645782270, 0.600060836, -1.576303898}, 1e-9));
}

constexpr int64_t kIn = 7, kOut = 5, kRank = 3, kTokens = 4;

// While weights_version stays the same so do the norm and the gain: differences then see the norm as the constant that
// it is to the rule. A moved magnitude, on which the norm does not depend, is a new version.
struct Case {
  explicit Case(float dropout)
      : map(RandomBase(kIn, kOut, DType::kF64, 5), {.a = a, .b = b, .scaling = 0.75f, .dropout = dropout}, m, &run,
            17) {}

  double Loss(const Tensor& at) { return Dot(map.Apply(at).value(), dy); }
  Tensor Backward() {
    Tensor dx;
    Tape tape;
    const Variable leaf = tape.Leaf(x, [&](Tensor g) { dx = g; });
    tape.Backward(map.Apply(leaf), dy);
    for (const auto& [name, p] : LeavesOf(map)) grads[name] = p->grad;
    Loss(x);  // looking at the parameters made the map forget its norm
    return dx;
  }

  AdapterRun run{.key = {.seed = 9}, .training = true, .weights_version = 1};
  Tensor a = RandomTensor({kRank, kIn}, DType::kF64, 1), b = RandomTensor({kOut, kRank}, DType::kF64, 2);
  Tensor m = RandomTensor({kOut}, DType::kF64, 6, 0.5, 2);
  Tensor x = RandomTensor({kTokens, kIn}, DType::kF64, 3), dy = RandomTensor({kTokens, kOut}, DType::kF64, 4);
  std::map<std::string, Tensor> grads;
  DoraMap map;
};

testing::AssertionResult IsParameterGradient(Case& c, const char* name, Tensor& parameter) {
  const Tensor before = parameter.Clone();
  const auto loss = [&](const Tensor& moved) {
    tensor::CopyInto(moved, parameter);
    if (&parameter == &c.m) ++c.run.weights_version;
    return c.Loss(c.x);
  };
  const testing::AssertionResult result = IsGradient(c.grads.at(name), loss, before);
  tensor::CopyInto(before, parameter);
  return result;
}

TEST(DoraMapTest, GradientsAreCentralDifferences) {
  for (const float dropout : {0.0f, 0.4f}) {
    Case c(dropout);
    EXPECT_TRUE(IsGradient(
        c.Backward(), [&](const Tensor& x) { return c.Loss(x); }, c.x))
        << dropout;
    EXPECT_TRUE(IsParameterGradient(c, "lora_A.weight", c.a)) << dropout;
    EXPECT_TRUE(IsParameterGradient(c, "lora_B.weight", c.b)) << dropout;
    EXPECT_TRUE(IsParameterGradient(c, "lora_magnitude_vector", c.m)) << dropout;
  }
}

TEST(DoraMapTest, AMagnitudeOfZeroStillHasItsGradient) {
  Case c(/*dropout=*/0);
  std::vector<double> m = Values(c.m);
  m[2] = 0;
  tensor::CopyInto(FromDoubles(m, {kOut}, DType::kF64), c.m);
  c.Backward();
  EXPECT_TRUE(IsParameterGradient(c, "lora_magnitude_vector", c.m));
  EXPECT_NE(Values(c.grads.at("lora_magnitude_vector"))[2], 0);
}

TEST(DoraMapTest, TheFactoredNormIsTheDirectOne) {
  for (const auto& [dtype, tolerance] : {std::pair(DType::kF64, 1e-12), std::pair(DType::kF32, 1e-5)}) {
    const Tensor w = RandomTensor({37, 65}, dtype, 1, -0.1, 0.1), a = RandomTensor({4, 65}, dtype, 2, -0.3, 0.3);
    const Tensor b = RandomTensor({37, 4}, dtype, 3, -0.3, 0.3);
    const DoraMap map(Dense(w), {.a = a, .b = b, .scaling = 1.1f}, absl::nullopt, nullptr, 0);
    const std::vector<double> want = DirectNorms(w, a, b, 1.1f), got = Values(map.Norm());
    for (size_t i = 0; i < want.size(); ++i) {
      const double error = std::abs(got[i] / want[i] - 1);
      EXPECT_FALSE(!(error <= tolerance)) << Name(dtype) << " row " << i << ": " << error;
    }
  }
}

TEST(DoraMapTest, TheNormOverABf16BaseKeepsTheFactorsDigits) {
  const Tensor w = RandomTensor({37, 65}, DType::kBF16, 1, -0.1, 0.1), a = RandomTensor({4, 65}, DType::kF32, 2);
  const Tensor b = RandomTensor({37, 4}, DType::kF32, 3), x = RandomTensor({3, 65}, DType::kBF16, 4);
  Tensor m = Tensor::Full({37}, 1, DType::kF32);
  const DoraMap map(Dense(w), {.a = a, .b = b, .scaling = 1.1f}, m, nullptr, 0);
  // With m = 1 the gain is 1 / n: read it off what the map does to x, in f32.
  Tensor y = Tensor::Empty({3, 37}, DType::kF32), wide = Tensor::Empty({3, 37}, DType::kF32);
  map.Forward(x, y, {});
  const std::vector<double> norms = DirectNorms(w, a, b, 1.1f);
  const LoraMap lora(Dense(w), {.a = a, .b = b, .scaling = 1.1f}, nullptr, 0);
  lora.Forward(x, wide, {});
  const std::vector<double> got = Values(y), z = Values(wide);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i] * norms[i % 37] / z[i], 1, 1e-4) << i;
}

TEST(DoraMapTest, StartsAsTheBaseToTheBit) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const float dropout : {0.0f, 0.5f}) {
      const AdapterRun run{.key = {.seed = 1}, .training = true};
      const Tensor x = RandomTensor({kTokens, kIn}, dtype, 3);
      std::unique_ptr<LinearMap> base = RandomBase(kIn, kOut, dtype, 5);
      const Tensor want = base->Apply(x).value();
      const Tensor a = RandomTensor({kRank, kIn}, DType::kF32, 1), b = Tensor::Zeros({kOut, kRank}, DType::kF32);
      DoraMap map(std::move(base), {.a = a, .b = b, .scaling = 2, .dropout = dropout}, absl::nullopt, &run, 0);
      EXPECT_TRUE(SameBytes(map.Apply(x).value(), want)) << Name(dtype) << " dropout " << dropout;
    }
  }
}

TEST(DoraMapTest, ForwardAndInputGradAgreeWithApply) {
  Case c(/*dropout=*/0);
  Tensor y = RandomTensor({kTokens, kOut}, DType::kF64, 8);
  std::vector<double> want = Values(c.map.Apply(c.x).value());
  const std::vector<double> before = Values(y);
  for (size_t i = 0; i < want.size(); ++i) want[i] += 0.5 * before[i];
  c.map.Forward(c.x, y, {.beta = 0.5f});
  EXPECT_TRUE(IsClose(y, want, 1e-12));
  Tensor dx = Tensor::Zeros({kTokens, kIn}, DType::kF64);
  c.map.InputGrad(c.dy, dx, {});
  EXPECT_TRUE(IsClose(c.Backward(), Values(dx), 1e-12));
}

TEST(DoraMapTest, TheMergedWeightGivesTheSameValues) {
  Case c(/*dropout=*/0);
  const Tensor want = tensor::MatMul(c.x, c.map.Merged(), false, true);
  EXPECT_TRUE(IsClose(c.map.Apply(c.x).value(), Values(want), 1e-12));
}

TEST(DoraMapTest, ARowOfZerosIsLeftAlone) {
  Tensor w = RandomTensor({3, 4}, DType::kF64, 1);
  Tensor row = w.Slice(0, 1, 2);
  tensor::CopyInto(Tensor::Scalar(0, DType::kF64), row);
  const Tensor a = RandomTensor({2, 4}, DType::kF64, 2), b = Tensor::Zeros({3, 2}, DType::kF64);
  const Tensor x = RandomTensor({5, 4}, DType::kF64, 3);
  DoraMap map(Dense(w), {.a = a, .b = b, .scaling = 1}, absl::nullopt, nullptr, 0);
  Tape tape;
  const Variable y = map.Apply(x);
  EXPECT_TRUE(IsClose(y.value(), Values(tensor::MatMul(x, w, false, true)), 1e-12));
  tape.Backward(y, Tensor::Full({5, 3}, 1, DType::kF64));
  const std::vector<double> dm = Values(LeavesOf(map).at("lora_magnitude_vector")->grad);
  EXPECT_EQ(dm[1], 0);
  for (const double v : Values(LeavesOf(map).at("lora_B.weight")->grad)) EXPECT_TRUE(std::isfinite(v));
}

TEST(DoraMapTest, TheNormIsKeptForAsLongAsTheWeightsVersion) {
  Case c(/*dropout=*/0);
  const Tensor first = c.map.Apply(c.x).value();
  tensor::CopyInto(Tensor::Scalar(0, DType::kF64), c.b);
  const Tensor stale = c.map.Apply(c.x).value();
  c.run.weights_version = 2;
  const Tensor fresh = c.map.Apply(c.x).value();
  EXPECT_FALSE(SameBytes(stale, fresh));
  c.run.weights_version = 0;
  EXPECT_TRUE(SameBytes(c.map.Apply(c.x).value(), fresh));
}

TEST(DoraMapTest, ASmallMagnitudeChangeIsNotRoundedAwayInBf16) {
  const Tensor w = RandomTensor({1, 64}, DType::kBF16, 1), x = RandomTensor({256, 64}, DType::kBF16, 2);
  const Tensor a = RandomTensor({1, 64}, DType::kF32, 3), b = Tensor::Zeros({1, 1}, DType::kF32);
  DoraMap map(Dense(w), {.a = a, .b = b}, absl::nullopt, nullptr, 0);
  const std::vector<double> before = Values(map.Apply(x).value());
  Tensor& m = LeavesOf(map).at("lora_magnitude_vector")->value;
  m = FromDoubles({Values(m)[0] * 1.002}, {1}, DType::kF32);  // 1.002 is 1 in bf16
  const std::vector<double> after = Values(map.Apply(x).value());
  double gain = 0;
  for (size_t i = 0; i < before.size(); ++i) gain += std::abs(after[i]) / std::abs(before[i]) / 256;
  EXPECT_NEAR(gain, 1.002, 5e-4);
}

}  // namespace
}  // namespace lorikeet
