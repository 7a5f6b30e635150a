#include "autograd/ops/activation.h"

#include "autograd/ops/elementwise.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

// x * (1 + tanh(sqrt(2/pi) * (x + 0.044715*x^3))) / 2.
Variable GeluReference(const Variable& x) {
  const Variable u = Scale(Mul(x, AddScalar(Scale(Square(x), 0.044715), 1)), 0.7978845608028654);
  return Scale(Mul(x, AddScalar(Tanh(u), 1)), 0.5);
}

std::vector<OpSpec> ActivationSpecs() {
  return {{.name = "SwiGlu",
           .inputs = {{"gate", {3, 37}, -6, 6}, {"up", {3, 37}}},
           .op = [](In in) { return SwiGlu(in[0], in[1]); },
           .reference = [](In in) { return Mul(Mul(in[0], Sigmoid(in[0])), in[1]); },
           .saved = "gate up",
           .empty = {{{0, 3}, {0, 3}}, {{3, 0}, {3, 0}}},
           .large = {{301, 257}, {301, 257}}},
          {.name = "GeGlu",
           .inputs = {{"gate", {3, 37}, -6, 6}, {"up", {3, 37}}},
           .op = [](In in) { return GeGlu(in[0], in[1]); },
           .reference = [](In in) { return Mul(GeluReference(in[0]), in[1]); },
           .saved = "gate up",
           .empty = {{{0, 3}, {0, 3}}, {{3, 0}, {3, 0}}},
           .large = {{301, 257}, {301, 257}}},
          {.name = "Gelu",
           .inputs = {{"x", {3, 37}, -6, 6}},
           .op = [](In in) { return Gelu(in[0]); },
           .reference = [](In in) { return GeluReference(in[0]); },
           .saved = "x",
           .empty = {{{0, 3}}, {{3, 0}}},
           .large = {{301, 257}}}};
}

INSTANTIATE_TEST_SUITE_P(Activation, OpSpecTest, testing::ValuesIn(ActivationSpecs()), SpecName);

}  // namespace
}  // namespace lorikeet
