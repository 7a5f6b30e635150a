#include "autograd/ops/softmax.h"

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "tensor/ops/testing.h"
#include "tests/testing/matchers.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

std::vector<OpSpec> SoftmaxSpecs() {
  return {{.name = "Softmax",
           .inputs = {{"x", {3, 37}, -6, 6}},
           .op = [](In in) { return Softmax(in[0]); },
           .reference = [](In in) { return Div(Exp(in[0]), Sum(Exp(in[0]), {-1})); },
           .saved = "y",
           .empty = {{{0, 3}}, {{2, 0, 3}}},
           .large = {{301, 257}}},
          {.name = "SoftmaxOfOneElement",
           .inputs = {{"x", {2, 3, 1}}},
           .op = [](In in) { return Softmax(in[0]); },
           .reference = [](In in) { return Div(Exp(in[0]), Sum(Exp(in[0]), {-1})); },
           .saved = "y"},
          {.name = "LogSoftmax",
           .inputs = {{"x", {3, 37}, -6, 6}},
           .op = [](In in) { return LogSoftmax(in[0]); },
           .reference = [](In in) { return Sub(in[0], Log(Sum(Exp(in[0]), {-1}))); },
           .saved = "y",
           .empty = {{{0, 3}}, {{2, 0, 3}}},
           .large = {{301, 257}},
           .slack = 16}};
}

INSTANTIATE_TEST_SUITE_P(Softmax, OpSpecTest, testing::ValuesIn(SoftmaxSpecs()), SpecName);

TEST(SoftmaxTest, ARowOfMinusInfinityHasValueAndGradientZero) {
  const Tensor x = Tensor::Full({2, 3}, -INFINITY, DType::kF32);
  const auto ones = [](const Tensor& y) { return Tensor::Full(y.shape(), 1, y.dtype()); };
  const OpRun run = RunOp([](In in) { return Softmax(in[0]); }, {x}, ones);
  EXPECT_TRUE(AllClose(run.y, Tensor::Zeros({2, 3}, DType::kF32), 0));
  EXPECT_TRUE(AllClose(run.grads[0], Tensor::Zeros({2, 3}, DType::kF32), 0));
}

}  // namespace
}  // namespace lorikeet
