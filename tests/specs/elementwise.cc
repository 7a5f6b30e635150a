#include "autograd/ops/elementwise.h"

#include <cmath>

#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

// A pair of operands; `b` away from 0 for the quotient.
OpSpec Binary(const std::string& name, Variable (*op)(const Variable&, const Variable&), double (*f)(double, double),
              const std::string& saved, const Shape& a, const Shape& b) {
  OpSpec spec{.name = name,
              .inputs = {{"a", a}, {"b", b, 0.5, 2}},
              .op = [op](In in) { return op(in[0], in[1]); },
              .definition = Pointwise(f),
              .saved = saved,
              .empty = {{{0, 3}, {0, 3}}, {{3, 0}, {1, 0}}, {{2, 0, 3}, {3}}, {{0}, {}}},
              .large = {{301, 257}, {257}}};
  spec.slack = 40;  // sums over the broadcast dimensions, of terms that are rounded one by one
  return spec;
}

void AddBinary(const std::string& name, Variable (*op)(const Variable&, const Variable&), double (*f)(double, double),
               const std::string& saved, std::vector<OpSpec>& specs) {
  specs.push_back(Binary(name, op, f, saved, {3, 37}, {3, 37}));
  specs.push_back(Binary(name + "ByARow", op, f, saved, {2, 3, 5}, {5}));
  specs.push_back(Binary(name + "ByAColumn", op, f, saved, {3, 7}, {3, 1}));
  specs.push_back(Binary(name + "OfAColumn", op, f, saved, {3, 1, 1}, {2, 5}));
  specs.push_back(Binary(name + "ByAScalar", op, f, saved, {4, 3}, {}));
  specs.push_back(Binary(name + "OfAScalar", op, f, saved, {}, {4, 3}));
}

OpSpec Unary(const std::string& name, Op op, double (*f)(double), const std::string& saved, double lo = -2,
             double hi = 2) {
  return {.name = name,
          .inputs = {{"x", {3, 37}, lo, hi}},
          .op = std::move(op),
          .definition = Pointwise(f),
          .saved = saved,
          .empty = {{{0}}, {{3, 0}}, {{0, 2, 3}}},
          .large = {{301, 257}},
          .slack = 12};
}

double Sigma(double x) { return 1 / (1 + std::exp(-x)); }

std::vector<OpSpec> ElementwiseSpecs() {
  std::vector<OpSpec> specs = {
      Unary(
          "Neg", [](In in) { return Neg(in[0]); }, [](double x) { return -x; }, ""),
      Unary(
          "Scale", [](In in) { return Scale(in[0], -2.5); }, [](double x) { return -2.5 * x; }, ""),
      Unary(
          "AddScalar", [](In in) { return AddScalar(in[0], 0.25); }, [](double x) { return x + 0.25; }, ""),
      Unary(
          "Square", [](In in) { return Square(in[0]); }, [](double x) { return x * x; }, "x"),
      Unary(
          "Exp", [](In in) { return Exp(in[0]); }, [](double x) { return std::exp(x); }, "y"),
      Unary(
          "Log", [](In in) { return Log(in[0]); }, [](double x) { return std::log(x); }, "x", 0.5, 3),
      Unary(
          "Sqrt", [](In in) { return Sqrt(in[0]); }, [](double x) { return std::sqrt(x); }, "y", 0.5, 3),
      Unary(
          "Rsqrt", [](In in) { return Rsqrt(in[0]); }, [](double x) { return 1 / std::sqrt(x); }, "y", 0.5, 3),
      Unary(
          "Tanh", [](In in) { return Tanh(in[0]); }, [](double x) { return std::tanh(x); }, "y"),
      Unary(
          "Sigmoid", [](In in) { return Sigmoid(in[0]); }, Sigma, "y"),
      Unary(
          "Silu", [](In in) { return Silu(in[0]); }, [](double x) { return x * Sigma(x); }, "x"),
  };
  AddBinary(
      "Add", Add, [](double a, double b) { return a + b; }, "", specs);
  AddBinary(
      "Sub", Sub, [](double a, double b) { return a - b; }, "", specs);
  AddBinary(
      "Mul", Mul, [](double a, double b) { return a * b; }, "a b", specs);
  AddBinary(
      "Div", Div, [](double a, double b) { return a / b; }, "a b", specs);
  return specs;
}

INSTANTIATE_TEST_SUITE_P(Elementwise, OpSpecTest, testing::ValuesIn(ElementwiseSpecs()), SpecName);

}  // namespace
}  // namespace lorikeet
