#include "tensor/ops/elementwise.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

struct UnaryCase {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*reference)(double);
  double lo;  // inputs from [lo, 4]
};

const UnaryCase kUnary[] = {
    {"Neg", Neg, [](double x) { return -x; }, -4},
    {"Abs", Abs, [](double x) { return std::fabs(x); }, -4},
    {"Sign", Sign, [](double x) { return x > 0   ? 1.0
                                         : x < 0 ? -1.0
                                                 : x; }, -4},
    {"Exp", Exp, [](double x) { return std::exp(x); }, -4},
    {"Log", Log, [](double x) { return std::log(x); }, 0.01},
    {"Sqrt", Sqrt, [](double x) { return std::sqrt(x); }, 0},
    {"Rsqrt", Rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0.01},
    {"Reciprocal", Reciprocal, [](double x) { return 1 / x; }, 0.01},
    {"Square", Square, [](double x) { return x * x; }, -4},
    {"Tanh", Tanh, [](double x) { return std::tanh(x); }, -4},
    {"Sigmoid", Sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -4},
    {"Silu", Silu, [](double x) { return x / (1 + std::exp(-x)); }, -4},
};

std::vector<double> Map(std::vector<double> values, double (*f)(double)) {
  for (double& v : values) v = f(v);
  return values;
}

TEST(ElementwiseTest, UnaryOpsMatchTheirDefinitionInEveryDTypeContiguousAndStrided) {
  for (const UnaryCase& c : kUnary) {
    for (DType dtype : kFloatDTypes) {
      SCOPED_TRACE(std::string(c.name) + " " + Name(dtype));
      const Tensor x = RandomTensor({7, 3, 211}, dtype, 1, c.lo, 4);
      const std::vector<double> want = Map(Values(x), c.reference);
      EXPECT_TRUE(IsClose(c.op(x), want, Tolerance(dtype)));
      EXPECT_TRUE(SameBits(c.op(Strided(x)), c.op(x)));
    }
  }
}

TEST(ElementwiseTest, UnaryOpsTreatSpecialValuesAsCmathDoes) {
  const std::vector<double> special = {kNaN, kInf, -kInf, 0.0,   -0.0, 100,  -100,
                                       1e4,  -1e4, 1e-38, 1e-42, -1,   88.7, -103};
  for (const UnaryCase& c : kUnary) {
    for (DType dtype : {DType::kF64, DType::kF32}) {
      SCOPED_TRACE(std::string(c.name) + " " + Name(dtype));
      const Tensor x = FromDoubles(special, {static_cast<int64_t>(special.size())}, dtype);
      std::vector<double> want = Map(Values(x), c.reference);
      if (dtype == DType::kF32) {
        for (double& v : want) v = static_cast<float>(v);
      }
      EXPECT_TRUE(IsClose(c.op(x), want, 1e-5));
    }
  }
}

TEST(ElementwiseTest, AnElementsBitsDoNotDependOnItsPlace) {
  const Tensor x = RandomTensor({4099}, DType::kF32, 3, -20, 20);
  for (const UnaryCase& c : kUnary) {
    for (int64_t begin : {1, 5, 1023}) {
      EXPECT_TRUE(SameBits(c.op(x.Slice(0, begin, 4099)), c.op(x).Slice(0, begin, 4099))) << c.name;
    }
  }
}

struct BinaryCase {
  const char* name;
  Tensor (*op)(const Tensor&, const Tensor&);
  double (*reference)(double, double);
};

const BinaryCase kBinary[] = {
    {"Add", Add, [](double a, double b) { return a + b; }},
    {"Sub", Sub, [](double a, double b) { return a - b; }},
    {"Mul", Mul, [](double a, double b) { return a * b; }},
    {"Div", Div, [](double a, double b) { return a / b; }},
    {"Maximum", Maximum, [](double a, double b) { return std::isnan(a) || std::isnan(b) ? kNaN : std::fmax(a, b); }},
    {"Minimum", Minimum, [](double a, double b) { return std::isnan(a) || std::isnan(b) ? kNaN : std::fmin(a, b); }},
    {"Equal", Equal, [](double a, double b) { return a == b ? 1.0 : 0.0; }},
    {"Greater", Greater, [](double a, double b) { return a > b ? 1.0 : 0.0; }},
};

// The definition of broadcasting, one index at a time.
std::vector<double> Broadcast(const Tensor& a, const Tensor& b, const Shape& shape, double (*f)(double, double)) {
  const std::vector<double> va = Values(a.Expand(shape)), vb = Values(b.Expand(shape));
  std::vector<double> out(va.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = f(va[i], vb[i]);
  return out;
}

TEST(ElementwiseTest, BinaryOpsBroadcastEachOperandOnEachAxis) {
  const Shape shapes[] = {{3, 5, 130}, {1, 5, 130}, {3, 1, 130}, {3, 5, 1}, {130}, {5, 1}, {1}, {}};
  for (const BinaryCase& c : kBinary) {
    for (const Shape& sa : shapes) {
      for (const Shape& sb : shapes) {
        SCOPED_TRACE(std::string(c.name) + ToString(sa) + ToString(sb));
        const Tensor a = RandomTensor(sa, DType::kF32, 1, 0.5, 2), b = RandomTensor(sb, DType::kF32, 2, 0.5, 2);
        const Shape shape = BroadcastShape("test", a.shape(), b.shape());
        EXPECT_TRUE(IsClose(c.op(a, b), Broadcast(a, b, shape, c.reference), 1e-6));
      }
    }
  }
}

TEST(ElementwiseTest, BinaryOpsWorkInEveryDTypeContiguousAndStrided) {
  for (const BinaryCase& c : kBinary) {
    for (DType dtype : kFloatDTypes) {
      SCOPED_TRACE(std::string(c.name) + " " + Name(dtype));
      const Tensor a = RandomTensor({33, 67}, dtype, 1, 0.5, 2), b = RandomTensor({33, 67}, dtype, 2, 0.5, 2);
      EXPECT_TRUE(IsClose(c.op(a, b), Broadcast(a, b, a.shape(), c.reference), Tolerance(dtype)));
      EXPECT_TRUE(SameBits(c.op(Strided(a), b), c.op(a, Strided(b))));
    }
  }
}

TEST(ElementwiseTest, BinaryOpsPropagateNaNAndInfinity) {
  const std::vector<double> special = {kNaN, kInf, -kInf, 0.0, -0.0, 1, -1};
  for (const BinaryCase& c : kBinary) {
    for (DType dtype : kFloatDTypes) {
      SCOPED_TRACE(std::string(c.name) + " " + Name(dtype));
      const Tensor a = FromDoubles(special, {7, 1}, dtype), b = FromDoubles(special, {7}, dtype);
      EXPECT_TRUE(IsClose(c.op(a, b), Broadcast(a, b, {7, 7}, c.reference), 0));
    }
  }
}

TEST(ElementwiseTest, ScalarsActAsBroadcastTensors) {
  for (DType dtype : kFloatDTypes) {
    const Tensor x = RandomTensor({5, 131}, dtype, 1), half = Tensor::Scalar(0.5, dtype);
    EXPECT_TRUE(SameBits(Scale(x, 0.5), Mul(x, half)));
    EXPECT_TRUE(SameBits(AddScalar(x, 0.5), Add(x, half)));
    EXPECT_TRUE(SameBits(Maximum(x, 0.5), Maximum(x, half)));
    EXPECT_TRUE(SameBits(Minimum(x, 0.5), Minimum(x, half)));
    EXPECT_TRUE(SameBits(Greater(x, 0.5), Greater(x, half)));
  }
}

TEST(ElementwiseTest, AddInPlaceAddsAcrossDTypesAndBroadcasts) {
  for (DType ty : kFloatDTypes) {
    for (DType tx : kFloatDTypes) {
      SCOPED_TRACE(std::string(Name(ty)) + " += " + Name(tx));
      Tensor y = RandomTensor({3, 141}, ty, 1);
      const Tensor x = RandomTensor({141}, tx, 2);
      std::vector<double> want = Values(y);
      const std::vector<double> vx = Values(x);
      for (size_t i = 0; i < want.size(); ++i) want[i] += 0.25 * vx[i % 141];
      AddInPlace(y, x, 0.25);
      EXPECT_TRUE(IsClose(y, want, Tolerance(ty)));
    }
  }
}

TEST(ElementwiseTest, InPlaceOpsWriteThroughViews) {
  Tensor x = Tensor::From<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  Tensor column = x.Slice(1, 1, 2);
  ScaleInPlace(column, 10);
  Tensor transposed = x.Transpose(0, 1);
  MulInPlace(transposed, Tensor::From<float>({1, -1}, {2}));
  AddInPlace(column, column);
  EXPECT_TRUE(IsClose(x, {1, 40, 3, -4, -100, -6}, 0));
}

TEST(ElementwiseTest, EmptyTensorsGiveEmptyResults) {
  const Tensor none = Tensor::Zeros({0, 3}, DType::kF32);
  EXPECT_EQ(Exp(none).shape(), (Shape{0, 3}));
  EXPECT_EQ(Add(none, Tensor::Zeros({3}, DType::kF32)).shape(), (Shape{0, 3}));
  EXPECT_EQ(Mul(none, Tensor::Zeros({1, 3}, DType::kF32)).shape(), (Shape{0, 3}));
  Tensor y = none;
  AddInPlace(y, none);
  EXPECT_EQ(y.size(), 0);
}

TEST(ElementwiseTest, BitsDoNotDependOnTheNumberOfThreads) {
  const Tensor x = RandomTensor({77, 1001}, DType::kBF16, 1), g = RandomTensor({1001}, DType::kBF16, 2);
  const Tensor first = Mul(Silu(x), g);
  ForEachThreadCount([&] { EXPECT_TRUE(SameBits(Mul(Silu(x), g), first)); });
}

TEST(ElementwiseDeathTest, MisuseNamesBothOperands) {
  const Tensor a = Tensor::Zeros({2, 3}, DType::kBF16), b = Tensor::Zeros({2, 3}, DType::kF32);
  EXPECT_DEATH(Add(a, b), "Add: a is bf16\\[2,3\\], b is f32\\[2,3\\]");
  EXPECT_DEATH(Mul(a, Tensor::Zeros({2}, DType::kBF16)), "Mul: a is of shape \\[2,3\\], b of \\[2\\]");
  EXPECT_DEATH(Exp(Tensor::Zeros({2}, DType::kI32)), "Exp: expected a float tensor, got i32\\[2\\]");
  Tensor y = Tensor::Zeros({1, 3}, DType::kF32).Expand({2, 3});
  EXPECT_DEATH(AddInPlace(y, b), "AddInPlace: y is an expanded view");
}

}  // namespace
}  // namespace lorikeet::tensor
