#include "autograd/ops/rope.h"

#include "autograd/ops/elementwise.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/shape.h"
#include "tensor/ops/rope.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/ops/testing.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

// Positions 3, 5, 7, ... in the arithmetic type of x [tokens, heads, head_dim].
tensor::RopeTable Table(const Variable& x) {
  std::vector<int32_t> positions;
  for (int64_t t = 0; t < x.shape()[0]; ++t) positions.push_back(static_cast<int32_t>(3 + 2 * t));
  const DType dtype = x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  return tensor::MakeRopeTable(Tensor::From<int32_t>(positions, {x.shape()[0]}, x.value().device()),
                               tensor::RopeFrequencies(100, x.shape()[2], {}, dtype));
}

// Each [tokens, d/2] table twice, side by side: [tokens, 1, d].
Tensor Doubled(const Tensor& half) {
  const int64_t tokens = half.dim(0), n = half.dim(1);
  const Tensor both = half.Reshape({tokens, 1, n}).Expand({tokens, 2, n});
  return both.Reshape({tokens, 1, 2 * n});
}

// y = x*cos + (x*R)*sin, where R moves the halves: (a, b)*R = (-b, a).
Variable Reference(In in) {
  const Shape shape = in[0].shape();
  const int64_t d = shape[2], half = d / 2;
  std::vector<double> r(static_cast<size_t>(d * d));
  for (int64_t i = 0; i < half; ++i) {
    r[static_cast<size_t>((i + half) * d + i)] = -1;
    r[static_cast<size_t>(i * d + i + half)] = 1;
  }
  const Variable flat = Reshape(in[0], {shape[0] * shape[1], d});
  const Variable moved = Reshape(MatMul(flat, tensor::FromDoubles(r, {d, d}, DType::kF64)), shape);
  const tensor::RopeTable table = Table(in[0]);
  return Add(Mul(in[0], Doubled(table.cos)), Mul(moved, Doubled(table.sin)));
}

// [tokens, heads, d] -> [tokens * heads, d].
Variable Flat(const Variable& x) { return Reshape(x, {x.shape()[0] * x.shape()[1], x.shape()[2]}); }

// [n, to]: x * Columns puts x's n columns at `first`.
Tensor Columns(int64_t n, int64_t to, int64_t first) {
  std::vector<double> m(static_cast<size_t>(n * to));
  for (int64_t i = 0; i < n; ++i) m[static_cast<size_t>(i * to + first + i)] = 1;
  return tensor::FromDoubles(m, {n, to}, DType::kF64);
}

std::vector<OpSpec> RopeSpecs() {
  return {{.name = "Rope",
           .inputs = {{"x", {5, 3, 10}}},
           .op = [](In in) { return Rope(in[0], Table(in[0])); },
           .reference = Reference,
           .saved = "cos[25] sin[25]",
           .empty = {{{0, 3, 4}}, {{2, 0, 4}}},
           .large = {{203, 3, 34}}},
          // The first 6 of 10 dimensions.
          {.name = "RopeOfAPart",
           .inputs = {{"x", {5, 3, 10}}},
           .op = [](In in) { return Flat(Rope(in[0], Table(in[0].value().Slice(2, 0, 6)))); },
           .reference =
               [](In in) {
                 const Variable turned = Reference({Slice(in[0], 2, 0, 6)}), still = Slice(in[0], 2, 6, 10);
                 return Add(MatMul(Flat(turned), Columns(6, 10, 0)), MatMul(Flat(still), Columns(4, 10, 6)));
               },
           .saved = "cos[15] sin[15]"}};
}

INSTANTIATE_TEST_SUITE_P(Rope, OpSpecTest, testing::ValuesIn(RopeSpecs()), SpecName);

}  // namespace
}  // namespace lorikeet
