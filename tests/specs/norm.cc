#include "autograd/ops/norm.h"

#include <utility>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "tensor/ops/testing.h"
#include "tests/testing/matchers.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

constexpr float kEps = 0x1p-10f;

// w * x / sqrt(mean(x^2) + eps).
Variable Reference(const Variable& x, const Variable& w) {
  return Mul(Mul(x, Rsqrt(AddScalar(Mean(Square(x), {-1}), kEps))), w);
}

// w * (x - mean) / sqrt(variance + eps) + b.
Variable LayerReference(const Variable& x, const Variable& w, const Variable& b) {
  const Variable c = Sub(x, Mean(x, {-1}));
  return Add(Mul(Mul(c, Rsqrt(AddScalar(Mean(Square(c), {-1}), kEps))), w), b);
}

// AddRmsNorm's two values as one: both of them, or only the second, on the way to the loss.
Variable Mixed(const std::pair<Variable, Variable>& values, bool both) {
  return both ? Add(Scale(values.first, 0.5), values.second) : values.second;
}

OpSpec AddRmsNormSpec(const std::string& name, bool both) {
  return {.name = name,
          .inputs = {{"x", {3, 37}}, {"residual", {3, 37}}, {"w", {37}}},
          .op = [=](In in) { return Mixed(AddRmsNorm(in[0], in[1], in[2], kEps), both); },
          .reference =
              [=](In in) {
                const Variable h = Add(in[0], in[1]);
                return Mixed({h, Reference(h, in[2])}, both);
              },
          .saved = "sum[111] w rstd[3]",
          .empty = {{{0, 5}, {0, 5}, {5}}},
          .large = {{301, 65}, {301, 65}, {65}},
          .slack = 12};
}

std::vector<OpSpec> NormSpecs() {
  return {
      {.name = "RmsNorm",
       .inputs = {{"x", {3, 37}}, {"w", {37}}},
       .op = [](In in) { return RmsNorm(in[0], in[1], kEps); },
       .reference = [](In in) { return Reference(in[0], in[1]); },
       .saved = "x w rstd[3]",
       .empty = {{{0, 5}, {5}}, {{2, 0, 5}, {5}}},
       .large = {{301, 65}, {65}},
       .slack = 12},
      {.name = "RmsNormOfRank3",
       .inputs = {{"x", {2, 3, 5}}, {"w", {5}}},
       .op = [](In in) { return RmsNorm(in[0], in[1], kEps); },
       .reference = [](In in) { return Reference(in[0], in[1]); },
       .saved = "x w rstd[6]",
       .slack = 12},
      {.name = "LayerNorm",
       .inputs = {{"x", {3, 37}, -1, 3}, {"w", {37}}, {"b", {37}}},
       .op = [](In in) { return LayerNorm(in[0], in[1], in[2], kEps); },
       .reference = [](In in) { return LayerReference(in[0], in[1], in[2]); },
       .saved = "x w b mean[3] rstd[3]",
       .empty = {{{0, 5}, {5}, {5}}, {{2, 0, 5}, {5}, {5}}},
       .large = {{301, 65}, {65}, {65}},
       .slack = 16},
      {.name = "LayerNormOfRank3",
       .inputs = {{"x", {2, 3, 5}}, {"w", {5}}, {"b", {5}}},
       .op = [](In in) { return LayerNorm(in[0], in[1], in[2], kEps); },
       .reference = [](In in) { return LayerReference(in[0], in[1], in[2]); },
       .saved = "x w b mean[6] rstd[6]",
       .slack = 16},
      AddRmsNormSpec("AddRmsNorm", true),
      AddRmsNormSpec("AddRmsNormWhoseSumIsNotUsed", false),
  };
}

INSTANTIATE_TEST_SUITE_P(Norm, OpSpecTest, testing::ValuesIn(NormSpecs()), SpecName);

TEST(AddRmsNormTest, WhereOnlyTheSumIsUsedTheWeightGetsNoGradient) {
  const Tensor x = tensor::RandomTensor({3, 5}, DType::kF64, 1), w = tensor::RandomTensor({5}, DType::kF64, 2);
  const Tensor dy = tensor::RandomTensor({3, 5}, DType::kF64, 3);
  const OpRun run = RunOp([](In in) { return AddRmsNorm(in[0], in[1], in[2], kEps).first; }, {x, x, w},
                          [&](const Tensor&) { return dy; });
  EXPECT_TRUE(AllClose(run.grads[0], dy, 0));
  EXPECT_TRUE(AllClose(run.grads[1], dy, 0));
  EXPECT_FALSE(run.grads[2].defined());
}

}  // namespace
}  // namespace lorikeet
