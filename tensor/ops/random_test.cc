#include "tensor/ops/random.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

constexpr RngKey kKey = {.seed = 42, .stream = 0x123456789abcdefull};

uint32_t Word(RngKey key, int64_t i) { return Philox(key, static_cast<uint64_t>(i / 4)).v[i % 4]; }

TEST(RandomTest, UniformFollowsItsFormulaInEveryDType) {
  std::vector<double> want;
  for (int64_t i = 0; i < 3 * 1337; ++i) want.push_back(-1 + 3 * static_cast<double>(ToUnitFloat(Word(kKey, i))));
  for (DType dtype : kFloatDTypes) {
    EXPECT_TRUE(IsClose(Uniform({3, 1337}, -1, 2, kKey, dtype), want, Tolerance(dtype)));
  }
}

TEST(RandomTest, NormalFollowsItsFormulaInEveryDType) {
  std::vector<double> want;
  for (int64_t i = 0; i < 3 * 1337; ++i) {
    const double u = (Word(kKey, i & ~1) + 1.0) * 0x1p-32, v = Word(kKey, i | 1) * 0x1p-32;
    const double angle = 2 * std::numbers::pi * v;
    want.push_back(5 + 2 * std::sqrt(-2 * std::log(u)) * (i % 2 ? std::sin(angle) : std::cos(angle)));
  }
  for (DType dtype : kFloatDTypes) {
    EXPECT_TRUE(IsClose(Normal({3, 1337}, 5, 2, kKey, dtype), want, Tolerance(dtype)));
  }
}

TEST(RandomTest, MomentsAreThoseOfTheDistributions) {
  const std::vector<double> u = Values(Uniform({200000}, 0, 1, kKey, DType::kF32));
  const std::vector<double> z = Values(Normal({200000}, 0, 1, kKey, DType::kF32));
  const auto moment = [](const std::vector<double>& v, int k) {
    return std::accumulate(v.begin(), v.end(), 0.0, [k](double s, double x) { return s + std::pow(x, k); }) / 200000;
  };
  EXPECT_NEAR(moment(u, 1), 0.5, 0.004);
  EXPECT_NEAR(moment(u, 2), 1.0 / 3, 0.004);
  EXPECT_NEAR(moment(z, 1), 0, 0.01);
  EXPECT_NEAR(moment(z, 2), 1, 0.015);
  EXPECT_NEAR(moment(z, 4), 3, 0.15);
}

TEST(RandomTest, DropoutKeepsWhatItsFormulaKeepsAndScalesIt) {
  for (DType dtype : kFloatDTypes) {
    const Tensor x = RandomTensor({13, 301}, dtype, 1);
    std::vector<double> want = Values(x);
    for (int64_t i = 0; i < x.size(); ++i) {
      double& v = want[static_cast<size_t>(i)];
      v = ToUnitFloat(Word(kKey, i)) >= 0.3f ? v * static_cast<double>(static_cast<float>(1 / 0.7)) : 0;
    }
    EXPECT_TRUE(IsClose(Dropout(x, 0.3, kKey), want, Tolerance(dtype)));
    EXPECT_TRUE(SameBits(Dropout(Strided(x), 0.3, kKey), Dropout(x, 0.3, kKey)));
  }
}

TEST(RandomTest, DropoutOfZeroReturnsXAndOfOneZerosEvenOfNaN) {
  const Tensor x = FromDoubles({1, -2, std::nan(""), std::numeric_limits<double>::infinity()}, {4}, DType::kF32);
  EXPECT_TRUE(Dropout(x, 0, kKey).shares_memory_with(x));
  EXPECT_TRUE(IsClose(Dropout(x, 1, kKey), {0, 0, 0, 0}, 0));
  EXPECT_EQ(Dropout(Tensor::Zeros({0, 3}, DType::kF32), 0.5, kKey).shape(), (Shape{0, 3}));
}

TEST(RandomTest, AKeyInMemoryIsFoldedAndReadWhenDropoutRuns) {
  const Tensor x = Tensor::Full({1000}, 1, DType::kF32);
  RngKey base = kKey;
  const KeySource source(&base, 7);
  EXPECT_TRUE(SameBits(Dropout(x, 0.3, source), Dropout(x, 0.3, kKey.Fold(7))));
  base = kKey.Fold(1);
  EXPECT_TRUE(SameBits(Dropout(x, 0.3, source), Dropout(x, 0.3, kKey.Fold(1).Fold(7))));
}

TEST(RandomTest, DropoutOfTheGradientUsesTheSameMask) {
  const Tensor ones = Tensor::Full({100000}, 1, DType::kBF16);
  const std::vector<double> y = Values(Dropout(ones, 0.25, kKey)), other = Values(Dropout(ones, 0.25, kKey.Fold(1)));
  EXPECT_EQ(y, Values(Dropout(ones, 0.25, kKey)));
  EXPECT_NE(y, other);
  EXPECT_NEAR(static_cast<double>(std::count(y.begin(), y.end(), 0.0)) / 100000, 0.25, 0.006);
}

TEST(RandomTest, BitsDoNotDependOnTheNumberOfThreads) {
  const Tensor x = RandomTensor({100, 1003}, DType::kF32, 1);
  const Tensor dropped = Dropout(x, 0.5, kKey), normal = Normal({100, 1003}, 0, 1, kKey, DType::kBF16);
  ForEachThreadCount([&] {
    EXPECT_TRUE(SameBits(Dropout(x, 0.5, kKey), dropped));
    EXPECT_TRUE(SameBits(Normal({100, 1003}, 0, 1, kKey, DType::kBF16), normal));
  });
}

TEST(RandomTest, APermutationHoldsEveryIndexOnceAndDependsOnTheKey) {
  std::vector<int64_t> p = Permutation(1000, kKey);
  EXPECT_EQ(p, Permutation(1000, kKey));
  EXPECT_NE(p, Permutation(1000, kKey.Fold(0)));
  std::sort(p.begin(), p.end());
  for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(p[static_cast<size_t>(i)], i);
  EXPECT_TRUE(Permutation(0, kKey).empty());
}

TEST(RandomTest, EveryOrderOfThreeIsAboutEquallyLikely) {
  std::vector<int> count(27);
  for (uint64_t k = 0; k < 6000; ++k) {
    const std::vector<int64_t> p = Permutation(3, kKey.Fold(k));
    ++count[static_cast<size_t>(9 * p[0] + 3 * p[1] + p[2])];
  }
  for (int c : count) EXPECT_TRUE(c == 0 || std::abs(c - 1000) < 150) << c;
  EXPECT_EQ(std::count(count.begin(), count.end(), 0), 21);
}

TEST(RandomDeathTest, MisuseIsNamed) {
  EXPECT_DEATH(Dropout(Tensor::Zeros({1}, DType::kF32), 1.5, kKey), "Dropout: p is 1.5");
  EXPECT_DEATH(Uniform({2}, 0, 1, kKey, DType::kI32), "Uniform: expected a float tensor, got i32\\[2\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
