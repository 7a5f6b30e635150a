#include "tensor/tensor.h"

#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace lorikeet {
namespace {

std::vector<float> Values(const Tensor& t) {
  const Tensor c = t.Contiguous();
  const absl::Span<float> s = c.data<float>();
  return {s.begin(), s.end()};
}

TEST(TensorTest, ASliceIsAViewOfTheSameMemory) {
  Tensor x = Tensor::From<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  Tensor row = x.Slice(0, 1, 2);
  EXPECT_EQ(Values(row), (std::vector<float>{4, 5, 6}));
  row.data<float>()[0] = 40;
  EXPECT_EQ(x.data<float>()[3], 40);
}

TEST(TensorTest, TransposeSwapsStridesAndContiguousCopies) {
  Tensor x = Tensor::From<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  Tensor t = x.Transpose(0, 1);
  EXPECT_EQ(t.shape(), (Shape{3, 2}));
  EXPECT_FALSE(t.contiguous());
  EXPECT_EQ(Values(t), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_TRUE(x.Contiguous().shares_memory_with(x));
  EXPECT_FALSE(t.Contiguous().shares_memory_with(x));
}

TEST(TensorTest, ReshapeInfersOneDimensionAndCopiesOnlyWhenItMust) {
  Tensor x = Tensor::From<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_TRUE(x.Reshape({3, -1}).shares_memory_with(x));
  EXPECT_EQ(Values(x.Transpose(0, 1).Reshape({6})), (std::vector<float>{1, 4, 2, 5, 3, 6}));
}

TEST(TensorTest, ExpandRepeatsWithStrideZero) {
  Tensor x = Tensor::From<float>({1, 2}, {2, 1});
  Tensor e = x.Expand({3, 2, 2});
  EXPECT_EQ(e.stride(0), 0);
  EXPECT_EQ(Values(e), (std::vector<float>{1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2}));
}

TEST(TensorTest, CastRoundsToNearestEvenAndTruncatesToIntegers) {
  Tensor x = Tensor::From<float>({1.00390625f, -2.7f, 3.5f}, {3});
  EXPECT_EQ(x.Cast(DType::kBF16).Cast(DType::kF32).data<float>()[0], 1.0f);
  EXPECT_EQ(x.Cast(DType::kI32).data<int32_t>()[1], -2);
  EXPECT_EQ(x.Cast(DType::kF64).data<double>()[2], 3.5);
}

TEST(TensorTest, EmptyTensorsAndScalarsWork) {
  EXPECT_EQ(Tensor::Zeros({0, 3}, DType::kF32).size(), 0);
  EXPECT_TRUE(Tensor::Zeros({0, 3}, DType::kF32).Transpose(0, 1).Contiguous().defined());
  EXPECT_EQ(Tensor::Scalar(2.5, DType::kBF16).item(), 2.5);
}

TEST(TensorTest, FillReachesEveryElementOfAStridedView) {
  Tensor x = Tensor::Zeros({2, 3}, DType::kF32);
  Tensor ones = Tensor::Full({2, 70000}, 1, DType::kF32);
  for (float v : ones.data<float>()) ASSERT_EQ(v, 1);
  EXPECT_EQ(x.Slice(1, 1, 3).shape(), (Shape{2, 2}));
}

TEST(TensorDeathTest, MisuseNamesWhatWasExpectedAndWhatCame) {
  Tensor x = Tensor::Zeros({2, 3}, DType::kF32);
  EXPECT_DEATH(x.data<double>(), "data<f64>\\(\\) of f32\\[2,3\\]");
  EXPECT_DEATH(x.Transpose(0, 1).data<float>(), "not contiguous");
  EXPECT_DEATH(x.Reshape({4}), "Reshape: f32\\[2,3\\] into \\[4\\]");
  EXPECT_DEATH(x.Slice(0, 1, 3), "Slice");
}

}  // namespace
}  // namespace lorikeet
