#include "optim/update_gate.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "optim/adamw.h"
#include "optim/clip.h"
#include "optim/resident_store.h"
#include "optim/state_block.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;
using tensor::SameBits;

struct Setting {
  const char* name;
  bool cuda;
  DType state;
};

// Parameters with and without a whole number of blocks, and small ones, which 8-bit stores keep in f32.
class UpdateGateTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (GetParam().cuda && !CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
    device_ = GetParam().cuda ? Cuda(0) : kCpu;
    for (const int64_t n : {4096, 3, 5000, 700}) {
      const Tensor value = RandomTensor({n}, DType::kF32, static_cast<uint32_t>(n)).To(device_);
      parameters_.push_back({.name = "p" + std::to_string(n), .value = value});
    }
    for (Parameter& p : parameters_) pointers_.push_back(&p);
    const DType state = GetParam().state;
    optimizer_ = std::make_unique<AdamW>(
        pointers_, AdamWOptions{}, std::make_unique<ResidentStore>(StateElements(pointers_, state), state, device_));
    gate_ = std::make_unique<UpdateGate>(/*max_norm=*/1, device_);
  }
  void MakeGradients(uint32_t seed) {
    for (Parameter& p : parameters_) p.grad = RandomTensor(p.value.shape(), DType::kF32, seed++).To(device_);
  }
  GradNorm Update(const std::vector<Tensor>& losses = {}) {
    const GradNorm norm(pointers_, losses);
    gate_->Look(norm);
    EXPECT_TRUE(optimizer_->Step(0.1, gate_->scale()).ok());
    return norm;
  }
  // Values, then moments.
  std::vector<Tensor> Everything() {
    std::vector<Tensor> all;
    for (const Parameter& p : parameters_) all.push_back(p.value.To(kCpu).Clone());
    const absl::Status saved = optimizer_->SaveState([&](const StateTensor&, int64_t, const Tensor& values) {
      all.push_back(values);
      return absl::OkStatus();
    });
    EXPECT_TRUE(saved.ok()) << saved;
    return all;
  }
  Tensor Losses(float a, float b) { return Tensor::From<float>({a, b}, {2}, device_); }

  Device device_ = kCpu;
  std::vector<Parameter> parameters_;
  std::vector<Parameter*> pointers_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<UpdateGate> gate_;
};

bool Same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!SameBits(a[i], b[i])) return false;
  }
  return true;
}

TEST_P(UpdateGateTest, UpdatesHaveTheBitsOfAHostThatClips) {
  MakeGradients(1);
  const GradNorm norm = Update({Losses(1, 2)});
  MakeGradients(5);
  Update();
  const std::vector<Tensor> got = Everything();
  EXPECT_GT(norm.Get(), 1);  // so that there was something to clip
  parameters_.clear();
  pointers_.clear();
  SetUp();
  for (const uint32_t seed : {1, 5}) {
    MakeGradients(seed);
    ASSERT_TRUE(optimizer_->Step(0.1, ClipFactor(GradNorm(pointers_).Get(), 1)).ok());
  }
  EXPECT_TRUE(Same(got, Everything()));
}

TEST_P(UpdateGateTest, ANumberThatIsNotFiniteShutsItUntilItIsOpened) {
  const float bad[] = {std::nanf(""), std::numeric_limits<float>::infinity()};
  for (const bool in_loss : {true, false}) {
    for (const float x : bad) {
      MakeGradients(1);
      Update();
      const std::vector<Tensor> before = Everything();
      const int64_t steps = optimizer_->steps();
      MakeGradients(5);
      if (!in_loss) parameters_[1].grad = Tensor::From<float>({1, x, 1}, {3}, device_);
      EXPECT_FALSE(std::isfinite(Update({Losses(1, in_loss ? x : 1)}).Get()));
      MakeGradients(9);
      EXPECT_TRUE(std::isfinite(Update({Losses(1, 2)}).Get()));  // good, but too late
      EXPECT_TRUE(Same(before, Everything())) << x << " in a " << (in_loss ? "loss" : "gradient");
      optimizer_->UndoStepCount(2);
      EXPECT_EQ(optimizer_->steps(), steps);
      gate_->Open();
      Update();
      EXPECT_FALSE(Same(before, Everything()));
    }
  }
}

TEST_P(UpdateGateTest, NothingToLookAtLeavesItOpen) {
  gate_->Look(GradNorm({}));
  EXPECT_EQ(tensor::Values(gate_->scale().To(kCpu)), (std::vector<double>{1, 1}));
}

INSTANTIATE_TEST_SUITE_P(Settings, UpdateGateTest,
                         testing::Values(Setting{"Cpu", false, DType::kF32}, Setting{"CpuIn8Bits", false, DType::kU8},
                                         Setting{"Cuda", true, DType::kF32}, Setting{"CudaIn8Bits", true, DType::kU8}),
                         [](const testing::TestParamInfo<Setting>& info) { return info.param.name; });

}  // namespace
}  // namespace lorikeet
