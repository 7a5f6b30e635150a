#include "autograd/activation_offload.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "autograd/checkpoint.h"
#include "autograd/ops/elementwise.h"
#include "autograd/tape.h"
#include "autograd/variable.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/default_allocator.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr int kLayers = 12;
constexpr int64_t kElements = 1 << 16;

class OffloadCudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }

  Variable Layers(Variable h, ActivationOffload* offload) {
    for (int i = 0; i < kLayers; ++i) {
      const Tensor w = weights_[static_cast<size_t>(i)];
      h = Checkpoint([w](absl::Span<const Variable> in) { return Silu(Mul(in[0], w)); },
                     {offload != nullptr ? (*offload)(h) : h});
    }
    return h;
  }

  // The gradient of x, and the most memory that the device held between the two.
  Tensor Gradient(ActivationOffload* offload, int64_t* forward_bytes = nullptr) {
    Tape tape;
    Tensor gradient;
    const int64_t before = DeviceMemory().live_bytes();
    Variable y = Layers(tape.Leaf(x_, [&](Tensor g) { gradient = std::move(g); }), offload);
    if (forward_bytes != nullptr) *forward_bytes = DeviceMemory().live_bytes() - before;
    const Tensor dy = tensor::RandomTensor(x_.shape(), DType::kF32, 99).To(Cuda(0));
    tape.Backward(y, dy);
    return gradient.To(kCpu);
  }

  std::vector<Tensor> MakeWeights() {
    std::vector<Tensor> weights;
    if (!CudaUnavailable().empty()) return weights;
    for (uint32_t i = 0; i < kLayers; ++i) {
      weights.push_back(tensor::RandomTensor({kElements}, DType::kF32, i, 0.5, 2).To(Cuda(0)));
    }
    return weights;
  }

  std::vector<Tensor> weights_ = MakeWeights();
  Tensor x_ = CudaUnavailable().empty() ? tensor::RandomTensor({kElements}, DType::kF32, 50).To(Cuda(0)) : Tensor();
};

TEST_F(OffloadCudaTest, GradientsAreThoseOfValuesThatStayed) {
  const Tensor stayed = Gradient(nullptr);
  ActivationOffload offload;
  // Buffers are used again from the second time on.
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(tensor::SameBits(Gradient(&offload), stayed)) << i;
}

TEST_F(OffloadCudaTest, TheDeviceHoldsAFewValuesInsteadOfAll) {
  int64_t stayed = 0, left = 0;
  Gradient(nullptr, &stayed);
  ActivationOffload offload;
  Gradient(&offload, &left);
  constexpr int64_t kBytes = 4 * kElements;
  EXPECT_GE(stayed, (kLayers - 1) * kBytes);  // x_ is there anyhow
  EXPECT_LE(left, 3 * kBytes);
}

TEST_F(OffloadCudaTest, ATapeThatEndsWithoutBackwardLeavesNothingBehind) {
  const Tensor stayed = Gradient(nullptr);
  ActivationOffload offload;
  const int64_t before = DeviceMemory().live_bytes();
  {
    Tape tape;
    Layers(tape.Leaf(x_, [](Tensor) {}), &offload);
  }
  EXPECT_EQ(DeviceMemory().live_bytes(), before);
  EXPECT_TRUE(tensor::SameBits(Gradient(&offload), stayed));
}

// Two records that save one value get one copy of it, whichever comes first.
TEST_F(OffloadCudaTest, AValueMayBeSavedTwice) {
  const auto gradient = [&](bool leaves) {
    ActivationOffload offload;
    Tape tape;
    Tensor out;
    const Variable x = tape.Leaf(x_, [&](Tensor g) { out = std::move(g); });
    const Variable h = leaves ? offload(Silu(x)) : Silu(x);
    const Variable y = Add(Mul(h, h), Layers(h, leaves ? &offload : nullptr));
    tape.Backward(y, tensor::RandomTensor(x_.shape(), DType::kF32, 7).To(Cuda(0)));
    return out.To(kCpu);
  };
  EXPECT_TRUE(tensor::SameBits(gradient(true), gradient(false)));
}

TEST_F(OffloadCudaTest, OutsideATapeAndOnTheCpuNothingMoves) {
  ActivationOffload offload;
  EXPECT_EQ(offload(Variable(x_)).recipe(), nullptr);
  Tape tape;
  EXPECT_EQ(offload(Variable(x_.To(kCpu))).recipe(), nullptr);
}

}  // namespace
}  // namespace lorikeet
