#include "tensor/ops/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

// Rows of d: log-sum-exp with the maximum taken off.
std::vector<double> LogSoftmaxOf(std::vector<double> x, size_t d) {
  for (size_t r = 0; r < x.size(); r += d) {
    const double max = *std::max_element(x.begin() + static_cast<int64_t>(r), x.begin() + static_cast<int64_t>(r + d));
    double sum = 0;
    for (size_t j = r; j < r + d; ++j) sum += std::exp(x[j] - max);
    for (size_t j = r; j < r + d; ++j) x[j] -= max + std::log(sum);
  }
  return x;
}
std::vector<double> ExpOf(std::vector<double> x) {
  for (double& v : x) v = std::exp(v);
  return x;
}

TEST(SoftmaxTest, SoftmaxAndItsLogMatchTheirDefinitionInEveryDType) {
  for (DType dtype : kFloatDTypes) {
    for (int64_t d : {1, 7, 64, 2501}) {
      const Tensor x = RandomTensor({3, 2, d}, dtype, 1, -8, 8);
      const std::vector<double> log = LogSoftmaxOf(Values(x), static_cast<size_t>(d));
      EXPECT_TRUE(IsClose(Softmax(x), ExpOf(log), Tolerance(dtype)));
      EXPECT_TRUE(IsClose(LogSoftmax(x), log, Tolerance(dtype)));
      EXPECT_TRUE(SameBits(Softmax(Strided(x)), Softmax(x)));
    }
  }
}

TEST(SoftmaxTest, GradientsMatchTheirDefinitionInEveryDType) {
  for (DType dtype : kFloatDTypes) {
    const int64_t d = 1301;
    const Tensor x = RandomTensor({3, d}, dtype, 1, -4, 4), dy = RandomTensor({3, d}, dtype, 2);
    const Tensor y = Softmax(x), log = LogSoftmax(x);
    const std::vector<double> g = Values(dy), p = Values(y), l = Values(log);
    std::vector<double> want(g.size()), want_log(g.size());
    for (size_t r = 0; r < g.size(); r += d) {
      double dot = 0, sum = 0;
      for (size_t j = r; j < r + d; ++j) dot += g[j] * p[j], sum += g[j];
      for (size_t j = r; j < r + d; ++j) want[j] = p[j] * (g[j] - dot), want_log[j] = g[j] - std::exp(l[j]) * sum;
    }
    EXPECT_TRUE(IsClose(SoftmaxGrad(dy, y), want, Tolerance(dtype)));
    EXPECT_TRUE(IsClose(LogSoftmaxGrad(dy, log), want_log, Tolerance(dtype)));
  }
}

TEST(SoftmaxTest, GradientsInF64EqualCentralDifferences) {
  const Tensor x = RandomTensor({7}, DType::kF64, 1), dy = RandomTensor({7}, DType::kF64, 2);
  const std::vector<double> g = Values(dy), dx = Values(SoftmaxGrad(dy, Softmax(x)));
  const std::vector<double> dlog = Values(LogSoftmaxGrad(dy, LogSoftmax(x)));
  const double h = 1e-5;
  for (size_t i = 0; i < 7; ++i) {
    std::vector<double> up = Values(x), down = Values(x);
    up[i] += h, down[i] -= h;
    const std::vector<double> lu = LogSoftmaxOf(up, 7), ld = LogSoftmaxOf(down, 7);
    double slope = 0, log_slope = 0;
    for (size_t j = 0; j < 7; ++j) {
      slope += g[j] * (std::exp(lu[j]) - std::exp(ld[j])) / (2 * h);
      log_slope += g[j] * (lu[j] - ld[j]) / (2 * h);
    }
    EXPECT_TRUE(Near(dx[i], slope, 1e-8));
    EXPECT_TRUE(Near(dlog[i], log_slope, 1e-8));
  }
}

TEST(SoftmaxTest, SpecialRowsAreDefined) {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kBF16}) {
    const Tensor x = FromDoubles({-kInf, -kInf, -kInf,  // nothing to attend to
                                  -kInf, 1, -kInf,      // one thing
                                  1e4, -1e4, 0,         // no overflow
                                  2, 2, 2,              // all equal
                                  1, kNaN, 2, kInf, 1, 2},
                                 {6, 3}, dtype);
    const double third = 1.0 / 3;
    EXPECT_TRUE(IsClose(Softmax(x),
                        {0, 0, 0, 0, 1, 0, 1, 0, 0, third, third, third, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN},
                        Tolerance(dtype)));
    EXPECT_TRUE(IsClose(LogSoftmax(x).Slice(0, 0, 2), {-kInf, -kInf, -kInf, -kInf, 0, -kInf}, 0));
    const Tensor dy = Tensor::Full({6, 3}, 1, dtype);
    EXPECT_TRUE(IsClose(SoftmaxGrad(dy, Softmax(x)).Slice(0, 0, 2), {0, 0, 0, 0, 0, 0}, 0));
    EXPECT_TRUE(IsClose(LogSoftmaxGrad(dy, LogSoftmax(x)).Slice(0, 0, 1), {0, 0, 0}, 0));
    EXPECT_TRUE(IsClose(LogSoftmaxGrad(dy, LogSoftmax(x)).Slice(0, 4, 5), {kNaN, kNaN, kNaN}, 0));
  }
}

TEST(SoftmaxTest, ANaNLateInALongRowReachesAllOfIt) {
  for (size_t at : {size_t{0}, size_t{1500}, size_t{2999}}) {
    std::vector<double> values(3000, 1.0);
    values[at] = kNaN;
    const Tensor x = FromDoubles(values, {3000}, DType::kF32);
    EXPECT_TRUE(IsClose(Softmax(x), std::vector<double>(3000, kNaN), 0));
    EXPECT_TRUE(IsClose(LogSoftmax(x), std::vector<double>(3000, kNaN), 0));
  }
}

TEST(SoftmaxTest, EmptyTensorsAndAnyNumberOfThreadsWork) {
  EXPECT_EQ(Softmax(Tensor::Zeros({0, 3}, DType::kF32)).shape(), (Shape{0, 3}));
  EXPECT_EQ(LogSoftmax(Tensor::Zeros({3, 0}, DType::kF32)).shape(), (Shape{3, 0}));
  const Tensor x = RandomTensor({99, 1003}, DType::kBF16, 1);
  const Tensor y = Softmax(x), dx = SoftmaxGrad(x, y);
  ForEachThreadCount([&] {
    EXPECT_TRUE(SameBits(Softmax(x), y));
    EXPECT_TRUE(SameBits(SoftmaxGrad(x, y), dx));
  });
}

TEST(SoftmaxDeathTest, MisuseIsNamed) {
  const Tensor y = Tensor::Zeros({2, 3}, DType::kF32);
  EXPECT_DEATH(SoftmaxGrad(Tensor::Zeros({2, 3}, DType::kBF16), y), "SoftmaxGrad: dy is bf16\\[2,3\\], expected f32");
  EXPECT_DEATH(Softmax(Tensor::Zeros({}, DType::kF32)), "Softmax: x is f32\\[\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
