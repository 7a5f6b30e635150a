// The CUDA cross-entropy and its gradient against the CPU's.
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

class CrossEntropyCudaTest : public CudaKernelTest {
 protected:
  static Pair Targets(const std::vector<int32_t>& ids) {
    return Of(Tensor::From<int32_t>(absl::MakeConstSpan(ids), {static_cast<int64_t>(ids.size())}));
  }
  // Every fifth one is ignored.
  static Pair SomeTargets(int64_t n, int64_t vocab) {
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i)
      ids[static_cast<size_t>(i)] = i % 5 == 3 ? -1 : static_cast<int32_t>(i * 7919 % vocab);
    return Targets(ids);
  }
  static void ExpectAgrees(const Pair& logits, const Pair& targets, double softcap, DType grad_dtype) {
    const int64_t n = logits.cpu.dim(0);
    const Pair losses = Result({n}, DType::kF32), correct = Result({n}, DType::kI32);
    const Pair dlogits = Result(logits.cpu.shape(), grad_dtype), scale = Of(Tensor::Scalar(0.125, DType::kF32));
    kCpuCrossEntropy.loss(logits.cpu.view(), targets.cpu.view(), softcap, losses.cpu.view(), correct.cpu.view(), {});
    kCudaCrossEntropy.loss(logits.cuda.view(), targets.cuda.view(), softcap, losses.cuda.view(), correct.cuda.view(),
                           {});
    EXPECT_TRUE(Agrees(losses, 1));
    EXPECT_TRUE(Agrees(correct));
    kCpuCrossEntropy.loss_and_grad(logits.cpu.view(), targets.cpu.view(), scale.cpu.view(), softcap, losses.cpu.view(),
                                   correct.cpu.view(), dlogits.cpu.view(), {});
    kCudaCrossEntropy.loss_and_grad(logits.cuda.view(), targets.cuda.view(), scale.cuda.view(), softcap,
                                    losses.cuda.view(), correct.cuda.view(), dlogits.cuda.view(), {});
    EXPECT_TRUE(Agrees(losses, 1));
    EXPECT_TRUE(Agrees(correct));
    EXPECT_TRUE(Agrees(dlogits, 1e-2));
  }
};

TEST_P(CrossEntropyCudaTest, VocabulariesOfEverySizeAgree) {
  for (int64_t vocab : {1, 3, 8, 13, 513, 1024}) {
    SCOPED_TRACE(vocab);
    const Pair logits = Values({6, vocab}, 1, -6, 6), targets = SomeTargets(6, vocab);
    ExpectAgrees(logits, targets, 0, GetParam());
    ExpectAgrees(logits, targets, 3, GetParam());
  }
  const int64_t vocab = 18001;  // a thread has several chunks
  ExpectAgrees(Values({2, vocab}, 1, -6, 6), SomeTargets(2, vocab), 0, GetParam());
  // More than shared memory keeps, and a row of several parts; both at addresses that chunks do not fit.
  for (int64_t long_vocab : {70001, 328001}) {
    ExpectAgrees(Values({5, long_vocab}, 1, -6, 6), SomeTargets(5, long_vocab), 0, GetParam());
  }
  ExpectAgrees(Values({0, 8}, 1), SomeTargets(0, 8), 0, GetParam());
}

TEST_P(CrossEntropyCudaTest, TheGradientMayHaveAnotherDtype) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    ExpectAgrees(Values({6, 75}, 1), SomeTargets(6, 75), 0, dtype);
  }
}

TEST_P(CrossEntropyCudaTest, TheGradientMayReplaceTheLogits) {
  const Pair logits = Values({7, 77}, 1, -6, 6), targets = SomeTargets(7, 77);
  const Pair losses = Result({7}, DType::kF32), correct = Result({7}, DType::kI32);
  const Pair scale = Of(Tensor::Scalar(1, DType::kF32));
  kCpuCrossEntropy.loss_and_grad(logits.cpu.view(), targets.cpu.view(), scale.cpu.view(), 5, losses.cpu.view(),
                                 correct.cpu.view(), logits.cpu.view(), {});
  kCudaCrossEntropy.loss_and_grad(logits.cuda.view(), targets.cuda.view(), scale.cuda.view(), 5, losses.cuda.view(),
                                  correct.cuda.view(), logits.cuda.view(), {});
  EXPECT_TRUE(Agrees(losses, 1));
  EXPECT_TRUE(Agrees(logits, 1e-2));
}

TEST_P(CrossEntropyCudaTest, OnlyTheFirstOfEqualLargestLogitsIsCorrect) {
  const Pair logits = Of(Tensor::From<float>({1, 2, 2, 0, 1, 2, 2, 0, 5, 5, 5, 5}, {3, 4}).Cast(GetParam()).Clone());
  ExpectAgrees(logits, Targets({1, 2, 0}), 0, GetParam());
}

TEST_P(CrossEntropyCudaTest, NanInfinityAndFarLogitsAgree) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor rows = Tensor::From<float>({nan, 1, 2, 3e4, -3e4, 0, -inf, 1, 2, -inf, -inf, -inf, 1, -inf, 3}, {5, 3});
  ExpectAgrees(Of(rows.Cast(GetParam()).Clone()), Targets({1, 1, 1, 1, 1}), 0, GetParam());
}

INSTANTIATE_CUDA_TEST_SUITE(CrossEntropyCudaTest);

TEST(CrossEntropyCudaDeathTest, ATargetOutsideTheVocabularyEndsTheProcess) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // a fork has no device
  const auto run = [] {
    const Tensor logits = Tensor::Zeros({1, 4}, DType::kF32, Cuda(0));
    const Tensor target = Tensor::From<int32_t>({4}, {1}).To(Cuda(0));
    const Tensor loss = Tensor::Zeros({1}, DType::kF32, Cuda(0)), correct = Tensor::Zeros({1}, DType::kI32, Cuda(0));
    kCudaCrossEntropy.loss(logits.view(), target.view(), 0, loss.view(), correct.view(), {});
    loss.To(kCpu);  // where a launch that failed is noticed
  };
  EXPECT_DEATH(run(), kTrapped);
}

}  // namespace
}  // namespace lorikeet
