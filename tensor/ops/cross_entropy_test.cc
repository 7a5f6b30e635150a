#include "tensor/ops/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/reduce.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

Tensor Targets(std::vector<int32_t> t) {
  return Tensor::From<int32_t>(absl::MakeConstSpan(t), {static_cast<int64_t>(t.size())});
}

Tensor ScaleOf(const Tensor& logits, double scale) {
  return Tensor::Scalar(scale, logits.dtype() == DType::kF64 ? DType::kF64 : DType::kF32);
}

struct Reference {
  std::vector<double> losses, grad;
};

Reference Definition(const std::vector<double>& logits, const std::vector<int32_t>& targets, double scale, double cap) {
  const size_t vocab = logits.size() / targets.size();
  Reference r;
  for (size_t i = 0; i < targets.size(); ++i) {
    std::vector<double> z(logits.begin() + static_cast<int64_t>(i * vocab),
                          logits.begin() + static_cast<int64_t>((i + 1) * vocab));
    if (cap > 0) {
      for (double& v : z) v = cap * std::tanh(v / cap);
    }
    const double max = *std::max_element(z.begin(), z.end());
    double sum = 0;
    for (double v : z) sum += std::exp(v - max);
    const bool ignored = targets[i] < 0;
    r.losses.push_back(ignored ? 0 : max + std::log(sum) - z[static_cast<size_t>(targets[i])]);
    for (size_t j = 0; j < vocab; ++j) {
      const double onehot = static_cast<int32_t>(j) == targets[i], slope = cap > 0 ? 1 - z[j] / cap * (z[j] / cap) : 1;
      r.grad.push_back(ignored ? 0 : scale * (std::exp(z[j] - max) / sum - onehot) * slope);
    }
  }
  return r;
}

TEST(CrossEntropyTest, LossesAndGradientMatchTheirDefinitionInEveryDType) {
  const std::vector<int32_t> t = {5, 0, -1, 2500, 1024};
  for (DType dtype : kFloatDTypes) {
    for (double cap : {0.0, 5.0}) {
      const Tensor logits = RandomTensor({5, 2501}, dtype, 1, -9, 9);
      const Reference want = Definition(Values(logits), t, 0.25, cap);
      const CrossEntropyResult r = CrossEntropy(logits, Targets(t), cap);
      EXPECT_EQ(r.losses.dtype(), dtype == DType::kF64 ? DType::kF64 : DType::kF32);
      EXPECT_TRUE(IsClose(r.losses, want.losses, Tolerance(r.losses.dtype())));
      Tensor grad = logits.Clone();
      const CrossEntropyResult in_place = CrossEntropyInto(grad, Targets(t), ScaleOf(grad, 0.25), cap, grad);
      EXPECT_TRUE(SameBits(in_place.losses, r.losses));
      EXPECT_TRUE(IsClose(grad, want.grad, Tolerance(dtype)));
      EXPECT_TRUE(SameBits(CrossEntropy(Strided(logits), Targets(t), cap).losses, r.losses));
    }
  }
}

TEST(CrossEntropyTest, TheGradientMayBeNarrowerThanTheLogits) {
  const std::vector<int32_t> t = {5, -1, 2500};
  const Tensor logits = RandomTensor({3, 2501}, DType::kF32, 1, -9, 9);
  for (double cap : {0.0, 5.0}) {
    Tensor wide = logits.Clone(), narrow = Tensor::Full({3, 2501}, kNaN, DType::kBF16);
    const CrossEntropyResult r = CrossEntropyInto(logits, Targets(t), ScaleOf(logits, 0.25), cap, narrow);
    EXPECT_TRUE(SameBits(r.losses, CrossEntropyInto(wide, Targets(t), ScaleOf(wide, 0.25), cap, wide).losses));
    EXPECT_TRUE(SameBits(narrow, wide.Cast(DType::kBF16)));
  }
}

TEST(CrossEntropyTest, TheGradientInF64EqualsCentralDifferences) {
  const std::vector<int32_t> t = {2, 6};
  for (double cap : {0.0, 3.0}) {
    Tensor grad = RandomTensor({2, 7}, DType::kF64, 1);
    const std::vector<double> x = Values(grad);
    CrossEntropyInto(grad, Targets(t), ScaleOf(grad, 1), cap, grad);
    const double h = 1e-5;
    for (size_t i = 0; i < x.size(); ++i) {
      std::vector<double> up = x, down = x;
      up[i] += h, down[i] -= h;
      const double slope =
          (SumAll(CrossEntropy(FromDoubles(up, {2, 7}, DType::kF64), Targets(t), cap).losses).item() -
           SumAll(CrossEntropy(FromDoubles(down, {2, 7}, DType::kF64), Targets(t), cap).losses).item()) /
          (2 * h);
      EXPECT_TRUE(Near(Values(grad)[i], slope, 1e-8));
    }
  }
}

TEST(CrossEntropyTest, CorrectSaysWhetherTheTargetIsTheFirstLargest) {
  const Tensor logits = Tensor::From<float>({1, 3, 2, /**/ 3, 1, 3, /**/ 3, 1, 3, /**/ 9, 0, 0}, {4, 3});
  EXPECT_TRUE(IsClose(CrossEntropy(logits, Targets({1, 0, 2, -1})).correct, {1, 1, 0, 0}, 0));
}

TEST(CrossEntropyTest, AllRowsIgnoredGiveZeros) {
  Tensor logits = FromDoubles({1, kNaN, kInf, 4}, {2, 2}, DType::kF32);
  const CrossEntropyResult r = CrossEntropyInto(logits, Targets({-1, -1}), ScaleOf(logits, 1), 0, logits);
  EXPECT_TRUE(IsClose(r.losses, {0, 0}, 0));
  EXPECT_TRUE(IsClose(logits, {0, 0, 0, 0}, 0));
}

TEST(CrossEntropyTest, HugeLogitsDoNotOverflow) {
  for (DType dtype : {DType::kF64, DType::kF32}) {
    Tensor logits = FromDoubles({1e4, -1e4, 0, 1e4, -1e4, 0}, {2, 3}, dtype);
    const CrossEntropyResult r = CrossEntropyInto(logits, Targets({0, 1}), ScaleOf(logits, 1), 0, logits);
    EXPECT_TRUE(IsClose(r.losses, {0, 2e4}, 0));
    EXPECT_TRUE(IsClose(logits, {0, 0, 0, 1, -1, 0}, 0));
  }
}

TEST(CrossEntropyTest, NaNMakesItsRowsLossAndGradientNaNAndNoOther) {
  Tensor logits = FromDoubles({0, kNaN, 0, 0, 0, 0, -kInf, -kInf}, {4, 2}, DType::kF32);
  const CrossEntropyResult r = CrossEntropyInto(logits, Targets({0, 0, 1, 0}), ScaleOf(logits, 1), 0, logits);
  const double ln2 = std::log(2.0);
  EXPECT_TRUE(IsClose(r.losses, {kNaN, ln2, ln2, kNaN}, 1e-6));
  EXPECT_TRUE(IsClose(logits.Slice(0, 0, 2), {kNaN, kNaN, -0.5, 0.5}, 1e-6));
}

TEST(CrossEntropyTest, EmptyTensorsAndAnyNumberOfThreadsWork) {
  EXPECT_EQ(CrossEntropy(Tensor::Zeros({0, 5}, DType::kF32), Targets({})).losses.shape(), (Shape{0}));
  const Tensor logits = RandomTensor({20, 5003}, DType::kBF16, 1);
  const Tensor targets = Targets(std::vector<int32_t>(20, 7));
  Tensor first = logits.Clone();
  const Tensor losses = CrossEntropyInto(first, targets, ScaleOf(first, 1), 0, first).losses;
  ForEachThreadCount([&] {
    Tensor grad = logits.Clone();
    EXPECT_TRUE(SameBits(CrossEntropyInto(grad, targets, ScaleOf(grad, 1), 0, grad).losses, losses));
    EXPECT_TRUE(SameBits(grad, first));
  });
}

TEST(CrossEntropyDeathTest, MisuseIsNamed) {
  Tensor logits = Tensor::Zeros({2, 3}, DType::kF32);
  EXPECT_DEATH(CrossEntropy(logits, Targets({0, 3})), "targets\\[1\\] is 3, the vocabulary has 3 entries");
  EXPECT_DEATH(CrossEntropy(logits, Targets({-2, 0})), "targets\\[0\\] is -2");
  EXPECT_DEATH(CrossEntropy(logits, Targets({0})), "targets is i32\\[1\\], expected shape \\[2\\]");
  Tensor strided = logits.Transpose(0, 1);
  EXPECT_DEATH(CrossEntropyInto(strided, Targets({0, 0, 0}), ScaleOf(strided, 1), 0, strided),
               "expected it contiguous");
  Tensor wide = Tensor::Zeros({2, 3}, DType::kF64);
  EXPECT_DEATH(CrossEntropyInto(logits, Targets({0, 0}), ScaleOf(logits, 1), 0, wide), "f64 for f64");
}

}  // namespace
}  // namespace lorikeet::tensor
