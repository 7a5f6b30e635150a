#include "autograd/ops/activation.h"

#include "autograd/ops/elementwise.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

std::vector<OpSpec> ActivationSpecs() {
  return {{.name = "SwiGlu",
           .inputs = {{"gate", {3, 37}, -6, 6}, {"up", {3, 37}}},
           .op = [](In in) { return SwiGlu(in[0], in[1]); },
           .reference = [](In in) { return Mul(Mul(in[0], Sigmoid(in[0])), in[1]); },
           .saved = "gate up",
           .empty = {{{0, 3}, {0, 3}}, {{3, 0}, {3, 0}}},
           .large = {{301, 257}, {301, 257}}}};
}

INSTANTIATE_TEST_SUITE_P(Activation, OpSpecTest, testing::ValuesIn(ActivationSpecs()), SpecName);

}  // namespace
}  // namespace lorikeet
