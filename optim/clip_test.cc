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
#include "tensor/kernels/reduce.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::IsClose;
using tensor::RandomTensor;
using tensor::SameBits;
using tensor::Values;

std::vector<Parameter*> Pointers(std::vector<Parameter>& parameters) {
  std::vector<Parameter*> pointers;
  for (Parameter& p : parameters) pointers.push_back(&p);
  return pointers;
}

Parameter WithGradient(Tensor grad) { return {.name = "p", .value = Tensor::Zeros({1}, grad.dtype()), .grad = grad}; }

TEST(ClipGradNorm, NormAndClippedGradientsAreTorchs) {
  const Golden golden;
  for (int c = 0; c < 4; ++c) {
    std::vector<Parameter> p;
    for (int i = 0; i < 5; ++i) p.push_back(WithGradient(golden.Read(absl::StrCat("clip", c, ".grad.", i))));
    const double limit = golden.Read(absl::StrCat("clip", c, ".limit")).item();
    const double want = golden.Read(absl::StrCat("clip", c, ".norm")).item();
    EXPECT_NEAR(ClipGradNorm(Pointers(p), limit), want, 1e-12 * want);
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(IsClose(p[i].grad, Values(golden.Read(absl::StrCat("clip", c, ".clipped.", i))), 1e-13)) << c;
    }
  }
}

TEST(ClipGradNorm, ANormThatIsNotFiniteIsReportedAndNothingIsChanged) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<Parameter> p = {WithGradient(Tensor::From<float>({100}, {1})),
                                WithGradient(Tensor::From<float>({1, bad}, {2}))};
    EXPECT_FALSE(std::isfinite(ClipGradNorm(Pointers(p), 1.0)));
    EXPECT_EQ(p[0].grad.item(), 100);
  }
}

TEST(ClipGradNorm, WithoutALimitOnlyTheNormIsFormed) {
  std::vector<Parameter> p = {WithGradient(Tensor::From<float>({3, 4}, {2})), {.name = "q", .value = Tensor()}};
  EXPECT_EQ(ClipGradNorm(Pointers(p), 0), 5);
  EXPECT_TRUE(IsClose(p[0].grad, {3, 4}, 0));
}

TEST(ClipGradNorm, BitsDoNotDependOnThreads) {
  std::vector<double> norms;
  std::vector<Tensor> clipped;
  tensor::ForEachThreadCount([&] {
    std::vector<Parameter> p = {WithGradient(RandomTensor({300, 1001}, DType::kF32, 1))};
    norms.push_back(ClipGradNorm(Pointers(p), 1.0));
    clipped.push_back(p[0].grad);
  });
  for (size_t i = 1; i < norms.size(); ++i) {
    EXPECT_EQ(norms[i], norms[0]);
    EXPECT_TRUE(SameBits(clipped[i], clipped[0]));
  }
}

TEST(ClipGradNorm, GradientsOnCudaAreClippedThere) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  if (kCudaReduce.sum_squares == nullptr) GTEST_SKIP() << "this build's CUDA backend has no reductions";
  std::vector<Parameter> here, there;
  for (uint32_t i = 0; i < 3; ++i) {
    here.push_back(WithGradient(RandomTensor({17 + i, 33}, DType::kF32, i)));
    there.push_back(WithGradient(here[i].grad.To(Cuda(0))));
  }
  EXPECT_NEAR(ClipGradNorm(Pointers(there), 0.5), ClipGradNorm(Pointers(here), 0.5), 1e-10);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(IsClose(there[i].grad, Values(here[i].grad), 1e-6));
}

}  // namespace
}  // namespace lorikeet
