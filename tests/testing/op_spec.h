// OpSpec: one row says what an op is; OpSpecTest proves it.
//
//   std::vector<OpSpec> NormSpecs() {
//     return {{.name = "RmsNorm",
//              .inputs = {{"x", {3, 37}}, {"w", {37}}},                                        // odd sizes on purpose
//              .op = [](In in) { return RmsNorm(in[0], in[1], 1e-6f); },
//              .reference = [](In in) { return Mul(Mul(in[0], Rsqrt(...)), in[1]); },          // in plain ops
//              .saved = "x w rstd[3]"}};
//   }
//   INSTANTIATE_TEST_SUITE_P(Norm, OpSpecTest, testing::ValuesIn(NormSpecs()), SpecName);
//
// A row buys, for values and for gradients: equality with the definition in f64, the gradient against central
// differences and, for a fused op, against its reference's; empty shapes; f32, bf16 and f16 beside f64; inputs that are
// strided, offset and expanded views, and a strided dy; each input used twice; constants without gradients; the bytes
// that the tape keeps; bits that do not depend on the number of threads; and on a CUDA device the CPU's values and
// gradients, strided or not, with the same bits each time. An op's constants go where its inputs are: DeviceOf(in).
#ifndef LORIKEET_TESTS_TESTING_OP_SPEC_H_
#define LORIKEET_TESTS_TESTING_OP_SPEC_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "autograd/variable.h"
#include "gtest/gtest.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

using In = absl::Span<const Variable>;
using Tensors = absl::Span<const Tensor>;
using Op = std::function<Variable(In)>;

struct SpecInput {
  std::string name;
  Shape shape;
  double lo = -2, hi = 2;  // its elements' range
};

struct OpSpec {
  std::string name;  // letters and digits: part of the test's name
  std::vector<SpecInput> inputs = {};
  Op op = {};
  // Exactly one of the two. A primitive: its value by plain arithmetic on f64 tensors. A fused op: the same function
  // composed of other ops, so that their gradients vouch for its own.
  std::function<Tensor(Tensors)> definition = {};
  Op reference = {};
  // What one record keeps, as words: an input's name, "y", "i32[n]", or "anything[n]": n elements of the arithmetic
  // type (f32; f64 for f64).
  std::string saved = "";
  // Other shapes for the inputs: with zeros in them; and large enough for several threads (default: `inputs`).
  std::vector<std::vector<Shape>> empty = {};
  std::vector<Shape> large = {};
  // f64 always. Errors allowed in the others: slack * the dtype's rounding unit.
  std::vector<DType> dtypes = {DType::kF32, DType::kBF16, DType::kF16};
  double slack = 4;
};

inline Device DeviceOf(In in) { return in[0].value().device(); }

class OpSpecTest : public testing::TestWithParam<OpSpec> {};

// For INSTANTIATE_TEST_SUITE_P and for messages.
std::string SpecName(const testing::TestParamInfo<OpSpec>& info);
void PrintTo(const OpSpec& spec, std::ostream* os);

// What an op did: its value, the gradients of its inputs (undefined for those that were constants), what it kept.
struct OpRun {
  Tensor y;
  std::vector<Tensor> grads;
  int64_t saved_bytes = 0;
};
// Runs op on leaves of these values and backwards from dy(y). constant[i]: input i is no leaf.
OpRun RunOp(const Op& op, const std::vector<Tensor>& inputs, const std::function<Tensor(const Tensor& y)>& dy,
            const std::vector<bool>& constant = {});

// Definitions of elementwise ops.
std::function<Tensor(Tensors)> Pointwise(double (*f)(double));
std::function<Tensor(Tensors)> Pointwise(double (*f)(double, double));  // broadcasts

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_OP_SPEC_H_
