#include "autograd/ops/shape.h"

#include "autograd/ops/elementwise.h"
#include "autograd/tape.h"
#include "tensor/ops/testing.h"
#include "tests/testing/matchers.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

// The element at (i, j, k) of the result of `shape` is x's at from(i, j, k), for x of rank 3.
std::function<Tensor(Tensors)> Moved(std::function<Shape(const Shape&)> shape,
                                     Shape (*from)(int64_t, int64_t, int64_t)) {
  return [=](Tensors in) {
    const std::vector<double> x = tensor::Values(in[0]);
    const Shape s = shape(in[0].shape());
    std::vector<double> y;
    for (int64_t i = 0; i < s[0]; ++i) {
      for (int64_t j = 0; j < s[1]; ++j) {
        for (int64_t k = 0; k < s[2]; ++k) {
          const Shape at = from(i, j, k);
          y.push_back(x[static_cast<size_t>((at[0] * in[0].dim(1) + at[1]) * in[0].dim(2) + at[2])]);
        }
      }
    }
    return tensor::FromDoubles(y, s, DType::kF64);
  };
}

// Parts 3, 3 and 1 of dimension 1, of which the last is not used.
Variable FirstMinusHalfOfSecond(const Variable& first, const Variable& second) {
  return Sub(first, Scale(second, 0.5));
}

std::vector<OpSpec> ShapeSpecs() {
  return {
      {.name = "Split",
       .inputs = {{"x", {3, 7, 5}}},
       .op =
           [](In in) {
             const std::vector<Variable> parts = Split(in[0], 1, {3, 3, 1});
             return FirstMinusHalfOfSecond(parts[0], parts[1]);
           },
       .reference = [](In in) { return FirstMinusHalfOfSecond(Slice(in[0], 1, 0, 3), Slice(in[0], 1, 3, 6)); },
       .empty = {{{0, 7, 3}}, {{2, 7, 0}}},
       .large = {{53, 7, 65}}},
      {.name = "Reshape",
       .inputs = {{"x", {3, 4, 5}}},
       .op =
           [](In in) {
             return Reshape(in[0], {in[0].shape()[2], in[0].shape()[0], in[0].shape()[1]});
           },
       .definition =
           [](Tensors in) {
             return tensor::FromDoubles(tensor::Values(in[0]), {in[0].dim(2), in[0].dim(0), in[0].dim(1)}, DType::kF64);
           },
       .empty = {{{0, 2, 3}}},
       .slack = 0},
      {.name = "Transpose",
       .inputs = {{"x", {3, 4, 5}}},
       .op = [](In in) { return Transpose(in[0], 0, -1); },
       .definition = Moved(
           [](const Shape& s) {
             return Shape{s[2], s[1], s[0]};
           },
           [](int64_t i, int64_t j, int64_t k) {
             return Shape{k, j, i};
           }),
       .empty = {{{0, 2, 3}}, {{2, 0, 3}}},
       .slack = 0},
      {.name = "Slice",
       .inputs = {{"x", {3, 7, 5}}},
       .op = [](In in) { return Slice(in[0], 1, 2, 6); },
       .definition = Moved(
           [](const Shape& s) {
             return Shape{s[0], 4, s[2]};
           },
           [](int64_t i, int64_t j, int64_t k) {
             return Shape{i, j + 2, k};
           }),
       .empty = {{{0, 7, 3}}, {{2, 6, 0}}},
       .large = {{53, 40, 65}},
       .slack = 0},
      {.name = "SliceOfNothing",
       .inputs = {{"x", {3, 7, 5}}},
       .op = [](In in) { return Slice(in[0], 1, 3, 3); },
       .definition = Moved(
           [](const Shape& s) {
             return Shape{s[0], 0, s[2]};
           },
           [](int64_t i, int64_t j, int64_t k) {
             return Shape{i, j, k};
           }),
       .slack = 0},
      {.name = "Expand",
       .inputs = {{"x", {3, 1, 5}}},
       .op =
           [](In in) {
             return Expand(in[0], {in[0].shape()[0], 4, in[0].shape()[2]});
           },
       .definition = Moved(
           [](const Shape& s) {
             return Shape{s[0], 4, s[2]};
           },
           [](int64_t i, int64_t, int64_t k) {
             return Shape{i, 0, k};
           }),
       .empty = {{{0, 1, 3}}, {{2, 1, 0}}},
       .large = {{301, 1, 257}}},
      {.name = "ExpandToNothing",
       .inputs = {{"x", {3, 1, 5}}},
       .op =
           [](In in) {
             return Expand(in[0], {in[0].shape()[0], 0, in[0].shape()[2]});
           },
       .definition = Moved(
           [](const Shape& s) {
             return Shape{s[0], 0, s[2]};
           },
           [](int64_t i, int64_t, int64_t k) {
             return Shape{i, 0, k};
           })},
  };
}

INSTANTIATE_TEST_SUITE_P(Shape, OpSpecTest, testing::ValuesIn(ShapeSpecs()), SpecName);

TEST(CastTest, ValueAndGradientAreRoundedToTheOtherDType) {
  const Tensor x = tensor::RandomTensor({3, 5}, DType::kF32, 1), dy = tensor::RandomTensor({3, 5}, DType::kBF16, 2);
  const OpRun run = RunOp([](In in) { return Cast(in[0], DType::kBF16); }, {x}, [&](const Tensor&) { return dy; });
  EXPECT_EQ(run.y.dtype(), DType::kBF16);
  EXPECT_TRUE(AllClose(run.y, x, tensor::Tolerance(DType::kBF16)));
  EXPECT_EQ(run.grads[0].dtype(), DType::kF32);
  EXPECT_TRUE(AllClose(run.grads[0], dy, 0));
}

}  // namespace
}  // namespace lorikeet
