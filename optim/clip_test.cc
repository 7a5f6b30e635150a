#include "optim/clip.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "optim/golden_for_test.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::IsClose;
using tensor::RandomTensor;
using tensor::Values;

std::vector<Parameter*> Pointers(std::vector<Parameter>& parameters) {
  std::vector<Parameter*> pointers;
  for (Parameter& p : parameters) pointers.push_back(&p);
  return pointers;
}

Parameter WithGradient(Tensor grad) { return {.name = "p", .value = Tensor::Zeros({1}, grad.dtype()), .grad = grad}; }

TEST(ClipTest, NormAndClippedGradientsAreTorchs) {
  const Golden golden;
  for (int c = 0; c < 4; ++c) {
    std::vector<Parameter> p;
    for (int i = 0; i < 5; ++i) p.push_back(WithGradient(golden.Read(absl::StrCat("clip", c, ".grad.", i))));
    const double limit = golden.Read(absl::StrCat("clip", c, ".limit")).item();
    const double want = golden.Read(absl::StrCat("clip", c, ".norm")).item();
    const double norm = GradNorm(Pointers(p)).Get();
    EXPECT_NEAR(norm, want, 1e-12 * want);
    for (int i = 0; i < 5; ++i) {
      const Tensor clipped = tensor::Scale(p[i].grad, ClipFactor(norm, limit));
      EXPECT_TRUE(IsClose(clipped, Values(golden.Read(absl::StrCat("clip", c, ".clipped.", i))), 1e-13)) << c;
    }
  }
}

TEST(ClipTest, ANormThatIsNotFiniteIsReported) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<Parameter> p = {WithGradient(Tensor::From<float>({100}, {1})),
                                WithGradient(Tensor::From<float>({1, bad}, {2}))};
    EXPECT_FALSE(std::isfinite(GradNorm(Pointers(p)).Get()));
  }
  EXPECT_TRUE(std::isnan(ClipFactor(std::nan(""), 1)));
}

TEST(ClipTest, ParametersWithoutAGradientCountAsZero) {
  std::vector<Parameter> p = {WithGradient(Tensor::From<float>({3, 4}, {2})), {.name = "q", .value = Tensor()}};
  EXPECT_EQ(GradNorm(Pointers(p)).Get(), 5);
  EXPECT_EQ(GradNorm({}).Get(), 0);
}

TEST(ClipTest, TheFactorIsAtMostOneAndOneWithoutALimit) {
  EXPECT_EQ(ClipFactor(0.5, 1), 1);
  EXPECT_EQ(ClipFactor(1e9, 0), 1);
  EXPECT_NEAR(ClipFactor(4, 1), 0.25, 1e-6);
}

TEST(ClipTest, BitsDoNotDependOnThreads) {
  std::vector<double> norms;
  tensor::ForEachThreadCount([&] {
    std::vector<Parameter> p = {WithGradient(RandomTensor({300, 1001}, DType::kF32, 1))};
    norms.push_back(GradNorm(Pointers(p)).Get());
  });
  for (double norm : norms) EXPECT_EQ(norm, norms[0]);
}

TEST(ClipTest, GradientsOnCudaHaveTheirNormFormedThere) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  std::vector<Parameter> here, there;
  for (uint32_t i = 0; i < 3; ++i) {
    here.push_back(WithGradient(RandomTensor({17 + i, 33}, DType::kF32, i)));
    there.push_back(WithGradient(here[i].grad.To(Cuda(0))));
  }
  EXPECT_NEAR(GradNorm(Pointers(there)).Get(), GradNorm(Pointers(here)).Get(), 1e-10);
}

}  // namespace
}  // namespace lorikeet
