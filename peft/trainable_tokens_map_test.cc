#include "peft/trainable_tokens_map.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "autograd/tape.h"
#include "gtest/gtest.h"
#include "peft/testing.h"
#include "tensor/dtype.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::Dot;
using tensor::IsClose;
using tensor::IsGradient;
using tensor::RandomTensor;
using tensor::SameBits;
using tensor::Values;

constexpr int64_t kIn = 7, kOut = 11;
const std::vector<int64_t> kTokens = {8, 2, 5};

// A map in f64 whose rows have moved, an input and the gradient of its output.
struct Case {
  explicit Case(DType dtype = DType::kF64)
      : rows(RandomTensor({3, kIn}, dtype, 1)),
        x(RandomTensor({4, kIn}, dtype, 2)),
        dy(RandomTensor({4, kOut}, dtype, 3)),
        base(RandomBase(kIn, kOut, dtype, 4)->Dense()),
        map(RandomBase(kIn, kOut, dtype, 4), kTokens, "rows", rows) {}

  Tensor& parameter() { return LeavesOf(map).at("token_adapter.trainable_tokens_delta")->value; }
  Tensor gradient() { return LeavesOf(map).at("token_adapter.trainable_tokens_delta")->grad; }
  // d(loss)/d(rows) by moving them.
  template <typename F>
  testing::AssertionResult IsRowsGradient(F loss) {
    const Tensor before = parameter().Clone();
    return IsGradient(
        gradient(),
        [&](const Tensor& moved) {
          tensor::CopyInto(moved, parameter());
          const double at = loss();
          tensor::CopyInto(before, parameter());
          return at;
        },
        before);
  }

  Tensor rows, x, dy, base;
  TrainableTokensMap map;
};

TEST(TrainableTokensMapTest, RowsAreReplacedAndTheOthersAreTheBases) {
  Case c;
  std::vector<double> want = Values(c.base);
  const std::vector<double> rows = Values(c.rows);
  for (size_t i = 0; i < kTokens.size(); ++i) {
    for (size_t k = 0; k < kIn; ++k) want[static_cast<size_t>(kTokens[i]) * kIn + k] = rows[i * kIn + k];
  }
  EXPECT_TRUE(IsClose(c.map.Dense(), want, 0));
  const Tensor y = c.map.Apply(c.x).value();
  EXPECT_TRUE(IsClose(y, Values(tensor::MatMul(c.x, c.map.Dense(), false, true)), 1e-12));
  const Tensor ids = Tensor::From<int32_t>({5, 0, 8, 8, 10}, {5});
  const std::vector<double> looked = Values(c.map.Lookup(ids, DType::kF64).value());
  for (size_t i = 0; i < 5; ++i) {
    const size_t token = static_cast<size_t>(ids.data<int32_t>()[i]);
    for (size_t k = 0; k < kIn; ++k) EXPECT_NEAR(looked[i * kIn + k], want[token * kIn + k], 1e-15);
  }
}

TEST(TrainableTokensMapTest, TheyStartAsTheBaseHasThem) {
  const TrainableTokensMap map(RandomBase(kIn, kOut, DType::kBF16, 4), kTokens, "rows");
  const Tensor base = RandomBase(kIn, kOut, DType::kBF16, 4)->Dense();
  EXPECT_TRUE(SameBits(map.Dense(), base));
  EXPECT_EQ(map.rows().dtype(), DType::kF32);
  EXPECT_FALSE(map.frozen());
}

TEST(TrainableTokensMapTest, MergedRowsAreNotRoundedToTheBasesDType) {
  const Tensor rows = RandomTensor({3, kIn}, DType::kF32, 1);
  const TrainableTokensMap map(RandomBase(kIn, kOut, DType::kBF16, 4), kTokens, "rows", rows);
  const Tensor merged = map.Merged();
  EXPECT_EQ(merged.dtype(), DType::kF32);
  EXPECT_EQ(map.Dense().dtype(), DType::kBF16);
  for (size_t i = 0; i < kTokens.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i);
    EXPECT_TRUE(SameBits(merged.Slice(0, kTokens[i], kTokens[i] + 1), rows.Slice(0, at, at + 1)));
  }
}

TEST(TrainableTokensMapTest, GradientsOfAProductAreCentralDifferences) {
  Case c;
  Tensor dx;
  {
    Tape tape;
    const Variable leaf = tape.Leaf(c.x, [&](Tensor g) { dx = g; });
    tape.Backward(c.map.Apply(leaf), c.dy);
  }
  EXPECT_TRUE(IsGradient(
      dx, [&](const Tensor& x) { return Dot(c.map.Apply(x).value(), c.dy); }, c.x));
  EXPECT_TRUE(c.IsRowsGradient([&] { return Dot(c.map.Apply(c.x).value(), c.dy); }));
  Tensor into = Tensor::Empty({4, kIn}, DType::kF64);
  c.map.InputGrad(c.dy, into, {});
  EXPECT_TRUE(IsClose(into, Values(dx), 1e-12));
}

TEST(TrainableTokensMapTest, GradientsOfALookupAndAProductAddUp) {
  Case c;
  const Tensor ids = Tensor::From<int32_t>({5, 0, 8, 8}, {4}), dh = RandomTensor({4, kIn}, DType::kF64, 7);
  {
    Tape tape;
    tape.Backward(c.map.Lookup(ids, DType::kF64), dh);
  }
  EXPECT_TRUE(c.IsRowsGradient([&] { return Dot(c.map.Lookup(ids, DType::kF64).value(), dh); }));
  {
    Tape tape;
    tape.Backward(c.map.Apply(c.x), c.dy);
  }
  EXPECT_TRUE(c.IsRowsGradient(
      [&] { return Dot(c.map.Lookup(ids, DType::kF64).value(), dh) + Dot(c.map.Apply(c.x).value(), c.dy); }));
}

TEST(TrainableTokensMapTest, ACorrectionThatAProductHasAlreadyStays) {
  const Case c;
  const Tensor u = RandomTensor({4, 2}, DType::kF64, 8), v = RandomTensor({2, kOut}, DType::kF64, 9);
  Tensor y = Tensor::Empty({4, kOut}, DType::kF64);
  c.map.Forward(c.x, y, {.alpha = 0.5, .u = u, .v = v});
  Tensor want = tensor::MatMul(c.x, c.map.Dense(), false, true);
  tensor::MatMulInto(want, u, false, v, false, 0.5, 0.5);
  EXPECT_TRUE(IsClose(y, Values(want), 1e-12));
}

}  // namespace
}  // namespace lorikeet
