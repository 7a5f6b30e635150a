#include "tensor/ops/copy.h"

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

TEST(CopyTest, CopyIntoWritesThroughAViewBroadcastingAndConverting) {
  Tensor y = Tensor::Zeros({2, 3}, DType::kBF16);
  Tensor right = y.Slice(1, 1, 3);
  CopyInto(Tensor::From<double>({7, 8}, {2}), right);
  EXPECT_TRUE(IsClose(y, {0, 7, 8, 0, 7, 8}, 0));
}

TEST(CopyTest, ConcatJoinsAlongEachDimension) {
  const Tensor a = Tensor::From<float>({1, 2, 3, 4}, {2, 2}), b = Tensor::From<float>({5, 6}, {1, 2});
  EXPECT_TRUE(IsClose(Concat({a, b}, 0), {1, 2, 3, 4, 5, 6}, 0));
  EXPECT_TRUE(IsClose(Concat({b.Transpose(0, 1), a.Transpose(0, 1)}, -1), {5, 1, 3, 6, 2, 4}, 0));
  EXPECT_EQ(Concat({a, Tensor::Zeros({0, 2}, DType::kF32)}, 0).shape(), (Shape{2, 2}));
}

TEST(CopyDeathTest, PartsThatDoNotFitAreNamed) {
  const Tensor a = Tensor::Zeros({2, 2}, DType::kF32);
  EXPECT_DEATH(Concat({a, Tensor::Zeros({2, 3}, DType::kF32)}, 0), "a part is f32\\[2,3\\]");
  EXPECT_DEATH(Concat({a, Tensor::Zeros({2, 2}, DType::kF64)}, 0), "a is f32\\[2,2\\], b is f64\\[2,2\\]");
  Tensor expanded = Tensor::Zeros({1, 2}, DType::kF32).Expand({2, 2});
  EXPECT_DEATH(CopyInto(a, expanded), "CopyInto: y is an expanded view");
}

}  // namespace
}  // namespace lorikeet::tensor
