#include "autograd/ops/reduce.h"

#include "tensor/ops/testing.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

// Sums, or means, over the marked dimensions of a tensor of rank 3, which stay with size 1.
std::function<Tensor(Tensors)> Reduced(bool over0, bool over1, bool over2, bool mean) {
  return [=](Tensors in) {
    const int64_t a = in[0].dim(0), b = in[0].dim(1), c = in[0].dim(2);
    const int64_t ra = over0 ? 1 : a, rb = over1 ? 1 : b, rc = over2 ? 1 : c;
    std::vector<double> sums(static_cast<size_t>(ra * rb * rc));
    const std::vector<double> x = tensor::Values(in[0]);
    for (size_t n = 0; n < x.size(); ++n) {
      const int64_t k = static_cast<int64_t>(n) % c, j = static_cast<int64_t>(n) / c % b,
                    i = static_cast<int64_t>(n) / (b * c);
      sums[static_cast<size_t>(((over0 ? 0 : i) * rb + (over1 ? 0 : j)) * rc + (over2 ? 0 : k))] += x[n];
    }
    const double count = static_cast<double>(a * b * c) / static_cast<double>(ra * rb * rc);
    for (double& s : sums) s = mean ? s / count : s;
    return tensor::FromDoubles(sums, {ra, rb, rc}, DType::kF64);
  };
}

std::function<Tensor(Tensors)> Total(bool mean) {
  return [mean](Tensors in) {
    double sum = 0;
    for (double v : tensor::Values(in[0])) sum += v;
    return Tensor::Scalar(mean ? sum / static_cast<double>(in[0].size()) : sum, DType::kF64);
  };
}

std::vector<OpSpec> ReduceSpecs() {
  const std::vector<SpecInput> x = {{"x", {3, 5, 7}}};
  const std::vector<Shape> large = {{67, 31, 65}};
  return {
      {.name = "SumOfAll",
       .inputs = x,
       .op = [](In in) { return Sum(in[0]); },
       .definition = Total(false),
       .empty = {{{0}}, {{3, 0}}},
       .large = large},
      {.name = "MeanOfAll",
       .inputs = x,
       .op = [](In in) { return Mean(in[0]); },
       .definition = Total(true),
       .large = large},
      {.name = "SumOfRows",
       .inputs = x,
       .op = [](In in) { return Sum(in[0], {-1}); },
       .definition = Reduced(false, false, true, false),
       .empty = {{{0, 2, 3}}, {{2, 3, 0}}},
       .large = large},
      {.name = "SumOfColumns",
       .inputs = x,
       .op = [](In in) { return Sum(in[0], {0}); },
       .definition = Reduced(true, false, false, false),
       .empty = {{{0, 2, 3}}, {{2, 3, 0}}},
       .large = large},
      {.name = "SumOverTheOuterDimensions",
       .inputs = x,
       .op =
           [](In in) {
             return Sum(in[0], {0, 2});
           },
       .definition = Reduced(true, false, true, false),
       .empty = {{{0, 2, 3}}, {{2, 0, 3}}},
       .large = large},
      {.name = "MeanOfRows",
       .inputs = x,
       .op = [](In in) { return Mean(in[0], {2}); },
       .definition = Reduced(false, false, true, true),
       .empty = {{{0, 2, 3}}},
       .large = large},
      {.name = "MeanOverTheMiddle",
       .inputs = x,
       .op = [](In in) { return Mean(in[0], {1}); },
       .definition = Reduced(false, true, false, true),
       .empty = {{{2, 3, 0}}},
       .large = large},
  };
}

INSTANTIATE_TEST_SUITE_P(Reduce, OpSpecTest, testing::ValuesIn(ReduceSpecs()), SpecName);

}  // namespace
}  // namespace lorikeet
