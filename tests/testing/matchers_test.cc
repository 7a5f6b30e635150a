#include "tests/testing/matchers.h"

#include <cmath>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

Tensor Doubles(std::initializer_list<double> values) {
  return Tensor::From<double>(values, {static_cast<int64_t>(values.size())});
}

TEST(AllCloseTest, AcceptsWhatIsWithinTheToleranceAndNothingElse) {
  EXPECT_TRUE(AllClose(Doubles({1, 100}), Doubles({1.05, 105}), 0.1));
  EXPECT_FALSE(AllClose(Doubles({1, 100}), Doubles({1.2, 100}), 0.1));
  EXPECT_TRUE(AllClose(Doubles({0.5}).Cast(DType::kBF16), Doubles({0.5}), 0));
}

TEST(AllCloseTest, ANaNIsCloseToNoNumber) {
  EXPECT_FALSE(AllClose(Doubles({NAN}), Doubles({0}), 1e300));
  EXPECT_FALSE(AllClose(Doubles({0}), Doubles({NAN}), 1e300));
  EXPECT_TRUE(AllClose(Doubles({NAN}), Doubles({NAN}), 0));
}

TEST(AllCloseTest, AnInfinityIsCloseToItselfOnly) {
  EXPECT_FALSE(AllClose(Doubles({INFINITY}), Doubles({1e300}), 1));
  EXPECT_FALSE(AllClose(Doubles({1e300}), Doubles({INFINITY}), 1));
  EXPECT_FALSE(AllClose(Doubles({-INFINITY}), Doubles({INFINITY}), 1e300));
  EXPECT_TRUE(AllClose(Doubles({INFINITY}), Doubles({INFINITY}), 0));
}

TEST(AllCloseTest, AnotherShapeIsNeverClose) {
  EXPECT_FALSE(AllClose(Doubles({1, 2}), Doubles({1, 2}).Reshape({2, 1}), 1));
  EXPECT_FALSE(AllClose(Doubles({}), Doubles({1}), 1));
  EXPECT_FALSE(AllClose(Doubles({1}), Doubles({}), 1));
  EXPECT_TRUE(AllClose(Doubles({}), Doubles({}), 0));
  EXPECT_FALSE(AllClose(Tensor(), Doubles({}), 1));
}

TEST(IsGradientTest, TellsTheDerivativeFromItsNeighbours) {
  const Tensor x = Doubles({0.5, -1.5});
  const auto cube = [](const Tensor& t) {
    double sum = 0;
    for (double v : t.data<double>()) sum += v * v * v;
    return sum;
  };
  EXPECT_TRUE(tensor::IsGradient(Doubles({0.75, 6.75}), cube, x));
  EXPECT_FALSE(tensor::IsGradient(Doubles({0.75, 6.751}), cube, x));
  EXPECT_FALSE(tensor::IsGradient(Doubles({NAN, 6.75}), cube, x));
  EXPECT_FALSE(tensor::IsGradient(Doubles({0.75}), cube, x));
}

}  // namespace
}  // namespace lorikeet
