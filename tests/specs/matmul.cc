#include "autograd/ops/matmul.h"

#include "tensor/ops/testing.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

// y[i,j] = sum_k op(a)[i,k] * op(b)[k,j], term by term.
std::function<Tensor(Tensors)> Product(bool ta, bool tb) {
  return [=](Tensors in) {
    const Tensor at = ta ? in[0].Transpose(0, 1) : in[0], bt = tb ? in[1].Transpose(0, 1) : in[1];
    const int64_t m = at.dim(0), k = at.dim(1), n = bt.dim(1);
    const std::vector<double> a = tensor::Values(at), b = tensor::Values(bt);
    std::vector<double> y(static_cast<size_t>(m * n));
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t l = 0; l < k; ++l) {
          y[static_cast<size_t>(i * n + j)] += a[static_cast<size_t>(i * k + l)] * b[static_cast<size_t>(l * n + j)];
        }
      }
    }
    return tensor::FromDoubles(y, {m, n}, DType::kF64);
  };
}

Shape Oriented(int64_t rows, int64_t columns, bool transposed) {
  return transposed ? Shape{columns, rows} : Shape{rows, columns};
}

OpSpec MatMulSpec(const std::string& name, bool ta, bool tb) {
  const auto shapes = [=](int64_t m, int64_t k, int64_t n) {
    return std::vector<Shape>{Oriented(m, k, ta), Oriented(k, n, tb)};
  };
  return {.name = name,
          .inputs = {{"a", Oriented(3, 11, ta)}, {"b", Oriented(11, 5, tb)}},
          .op = [=](In in) { return MatMul(in[0], in[1], ta, tb); },
          .definition = Product(ta, tb),
          .saved = "a b",
          .empty = {shapes(0, 3, 2), shapes(2, 0, 3), shapes(2, 3, 0)},
          .large = shapes(133, 70, 97),
          .slack = 16};
}

std::vector<OpSpec> MatMulSpecs() {
  OpSpec square = {.name = "MatMulOfSquares",  // the one shape at which both operands may be one tensor
                   .inputs = {{"a", {5, 5}}, {"b", {5, 5}}},
                   .op = [](In in) { return MatMul(in[0], in[1]); },
                   .definition = Product(false, false),
                   .saved = "a b",
                   .slack = 16};
  return {MatMulSpec("MatMul", false, false), MatMulSpec("MatMulTransposedA", true, false),
          MatMulSpec("MatMulTransposedB", false, true), MatMulSpec("MatMulTransposedBoth", true, true), square};
}

INSTANTIATE_TEST_SUITE_P(MatMul, OpSpecTest, testing::ValuesIn(MatMulSpecs()), SpecName);

}  // namespace
}  // namespace lorikeet
