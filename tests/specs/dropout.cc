#include "autograd/ops/dropout.h"

#include "autograd/ops/elementwise.h"
#include "tensor/ops/testing.h"
#include "tensor/random.h"
#include "tests/testing/matchers.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

constexpr RngKey kKey{.seed = 11, .stream = 5};

// Dropout is linear: whatever it does to ones, it does to x. That the ones fall as often as p says and where Philox
// says is the tensor op's own test.
OpSpec DropoutSpec(const std::string& name, float p) {
  return {
      .name = name,
      .inputs = {{"x", {3, 37}}},
      .op = [p](In in) { return Dropout(in[0], p, kKey); },
      .reference =
          [p](In in) { return Mul(in[0], Dropout(Tensor::Full(in[0].shape(), 1, in[0].dtype()), p, kKey).value()); },
      .empty = {{{0, 3}}, {{3, 0}}},
      .large = {{301, 257}}};
}

INSTANTIATE_TEST_SUITE_P(Dropout, OpSpecTest,
                         testing::ValuesIn({DropoutSpec("Dropout", 0.3f), DropoutSpec("DropoutOfNothing", 0),
                                            DropoutSpec("DropoutOfEverything", 1)}),
                         SpecName);

TEST(DropoutTest, ItsMaskKeepsSomeAndDropsSome) {
  const Tensor y = Dropout(Tensor::Full({1000}, 1, DType::kF64), 0.25f, kKey).value();
  int dropped = 0;
  for (double v : y.data<double>()) {
    if (v == 0) {
      ++dropped;
    } else {
      EXPECT_EQ(v, static_cast<float>(1 / 0.75));  // the factor is an f32
    }
  }
  EXPECT_NEAR(dropped, 250, 60);  // four standard deviations
}

TEST(DropoutTest, OfEverythingGivesZerosAndNoGradient) {
  const auto ones = [](const Tensor& y) { return Tensor::Full(y.shape(), 1, y.dtype()); };
  const OpRun run = RunOp([](In in) { return Dropout(in[0], 1, kKey); }, {Tensor::Full({3}, 1e38, DType::kF32)}, ones);
  EXPECT_TRUE(AllClose(run.y, Tensor::Zeros({3}, DType::kF32), 0));
  EXPECT_TRUE(AllClose(run.grads[0], Tensor::Zeros({3}, DType::kF32), 0));
}

}  // namespace
}  // namespace lorikeet
