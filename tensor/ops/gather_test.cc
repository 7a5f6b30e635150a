#include "tensor/ops/gather.h"

#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

Tensor Ids(std::initializer_list<int32_t> ids) {
  return Tensor::From<int32_t>(ids, {static_cast<int64_t>(ids.size())});
}

TEST(GatherTest, GatherRowsCopiesTheNamedRowsOfEveryDType) {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64, DType::kU8}) {
    const Tensor table = Tensor::From<float>({0, 1, 10, 11, 20, 21, 30, 31}, {4, 2}).Cast(dtype);
    const Tensor y = GatherRows(table, Ids({3, 0, 3}));
    EXPECT_EQ(y.dtype(), dtype);
    EXPECT_TRUE(IsClose(y, {30, 31, 0, 1, 30, 31}, 0));
  }
}

TEST(GatherTest, GatherRowsReadsStridedTablesAndIds) {
  const Tensor table = RandomTensor({37, 53}, DType::kF32, 1);
  const Tensor ids = Tensor::From<int32_t>({5, -1, 36, -1, 0, -1}, {3, 2}).Slice(1, 0, 1).Squeeze(1);
  const Tensor want = GatherRows(table, Ids({5, 36, 0}));
  EXPECT_TRUE(SameBits(GatherRows(Strided(table), ids), want));
  EXPECT_TRUE(SameBits(GatherRows(table.Slice(1, 3, 50), ids), want.Slice(1, 3, 50)));
}

TEST(GatherTest, ScatterRowsWritesTheNamedRowsOfEveryDTypeAndNoOther) {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64, DType::kU8}) {
    Tensor table = Tensor::From<float>({0, 1, 10, 11, 20, 21, 30, 31}, {4, 2}).Cast(dtype).Clone();
    ScatterRows(Tensor::From<float>({5, 6, 7, 8}, {2, 2}).Cast(dtype), Ids({3, 0}), table);
    EXPECT_TRUE(IsClose(table, {7, 8, 10, 11, 20, 21, 5, 6}, 0));
  }
  Tensor wide = Tensor::Zeros({3, 5}, DType::kF32), part = wide.Slice(1, 1, 3);
  ScatterRows(Strided(Tensor::From<float>({1, 2}, {1, 2})), Ids({1}), part);
  EXPECT_TRUE(IsClose(wide, {0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0}, 0));
  ScatterRows(Tensor::Zeros({0, 5}, DType::kF32), Ids({}), wide);
}

TEST(GatherDeathTest, ScatterRowsNamesARowOutsideTheTable) {
  Tensor table = Tensor::Zeros({3, 2}, DType::kF32);
  EXPECT_DEATH(ScatterRows(Tensor::Zeros({1, 2}, DType::kF32), Ids({3}), table), "ids.0. is 3, the table has 3 rows");
  EXPECT_DEATH(ScatterRows(Tensor::Zeros({1, 2}, DType::kBF16), Ids({0}), table), "x is bf16");
}

TEST(GatherTest, ScatterAddRowsAccumulatesDuplicates) {
  for (DType dtype : kFloatDTypes) {
    for (DType table_dtype : {DType::kF32, DType::kF64}) {
      Tensor dtable = Tensor::Full({3, 2}, 0.5, table_dtype);
      const Tensor dy = FromDoubles({1, 2, 4, 8, 16, 32}, {3, 2}, dtype);
      ScatterAddRows(dtable, Ids({2, 0, 2}), dy);
      EXPECT_TRUE(IsClose(dtable, {4.5, 8.5, 0.5, 0.5, 17.5, 34.5}, 0));
    }
  }
}

TEST(GatherTest, ScatterAddRowsAddsInTheOrderOfTheIdsWhateverTheThreads) {
  const Tensor dy = RandomTensor({1000, 33}, DType::kF32, 1);
  Tensor ids = Tensor::Empty({1000}, DType::kI32);
  for (int i = 0; i < 1000; ++i) ids.data<int32_t>()[static_cast<size_t>(i)] = i * i % 7;
  std::vector<float> want(7 * 33);
  for (size_t i = 0; i < 1000; ++i) {
    for (size_t j = 0; j < 33; ++j)
      want[static_cast<size_t>(ids.data<int32_t>()[i]) * 33 + j] += dy.data<float>()[i * 33 + j];
  }
  ForEachThreadCount([&] {
    Tensor dtable = Tensor::Zeros({7, 33}, DType::kF32);
    ScatterAddRows(dtable, ids, Strided(dy));
    EXPECT_TRUE(SameBits(dtable, Tensor::From<float>(absl::MakeConstSpan(want), {7, 33})));
  });
}

TEST(GatherTest, NothingGatheredIsEmpty) {
  const Tensor none = Tensor::Zeros({0}, DType::kI32);
  EXPECT_EQ(GatherRows(Tensor::Zeros({4, 2}, DType::kF32), none).shape(), (Shape{0, 2}));
  Tensor dtable = Tensor::Full({2, 2}, 3, DType::kF32);
  ScatterAddRows(dtable, none, Tensor::Zeros({0, 2}, DType::kF32));
  EXPECT_TRUE(IsClose(dtable, {3, 3, 3, 3}, 0));
}

TEST(GatherDeathTest, AnIdOutsideTheTableIsNamedWithItsPosition) {
  Tensor table = Tensor::Zeros({4, 2}, DType::kF32);
  EXPECT_DEATH(GatherRows(table, Ids({0, 4})), "ids\\[1\\] is 4, the table has 4 rows");
  EXPECT_DEATH(GatherRows(table, Ids({-1})), "ids\\[0\\] is -1");
  EXPECT_DEATH(ScatterAddRows(table, Ids({7}), Tensor::Zeros({1, 2}, DType::kF32)), "ids\\[0\\] is 7");
  EXPECT_DEATH(GatherRows(table, Tensor::Zeros({1}, DType::kI64)), "ids is i64\\[1\\], expected i32");
  EXPECT_DEATH(ScatterAddRows(table, Ids({1}), Tensor::Zeros({1, 3}, DType::kF32)), "dy is f32\\[1,3\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
