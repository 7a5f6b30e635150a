// AdamW on CUDA beside AdamW on the CPU: the same bits, in floats and in 8 bits, and state that moves between them.
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "optim/adamw.h"
#include "optim/adamw8.h"
#include "optim/resident_store.h"
#include "optim/state_block.h"
#include "optim/state_store.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;
using tensor::SameBits;

class AdamWCudaTest : public testing::TestWithParam<DType> {  // of the store
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

// Parameters small and large, two of them of more than kMin8BitSize elements and one of no whole number of blocks.
struct Training {
  Training(Device device, DType dtype) : device(device) {
    const Shape shapes[] = {{700}, {3}, {17, 257}, {4096}, {1}};
    for (const Shape& shape : shapes) {
      const Tensor value = RandomTensor(shape, DType::kF32, seed++).To(device);
      parameters.push_back({.name = "p" + std::to_string(parameters.size()), .value = value});
    }
    for (Parameter& p : parameters) pointers.push_back(&p);
    optimizer = std::make_unique<AdamW>(
        pointers, AdamWOptions{.weight_decay = 0.1},
        std::make_unique<ResidentStore>(StateElements(pointers, dtype), dtype, device, 4 * BlockElements(dtype)));
  }
  void Step() {
    for (Parameter& p : parameters) p.grad = RandomTensor(p.value.shape(), DType::kF32, seed++, -0.1, 0.1).To(device);
    parameters[1].grad = Tensor();
    const absl::Status done = optimizer->Step(0.01);
    EXPECT_TRUE(done.ok()) << done;
  }
  std::map<std::string, std::vector<Tensor>> State() {
    std::map<std::string, std::vector<Tensor>> state;
    const absl::Status saved = optimizer->SaveState([&](const StateTensor& t, int64_t, const Tensor& values) {
      state[t.name].push_back(values);
      return absl::OkStatus();
    });
    EXPECT_TRUE(saved.ok()) << saved;
    return state;
  }

  Device device;
  uint32_t seed = 1;
  std::vector<Parameter> parameters;
  std::vector<Parameter*> pointers;
  std::unique_ptr<AdamW> optimizer;
};

void ExpectSame(Training& there, Training& here) {
  for (size_t i = 0; i < here.parameters.size(); ++i) {
    EXPECT_TRUE(SameBits(there.parameters[i].value.To(kCpu), here.parameters[i].value)) << i;
  }
  const auto got = there.State(), want = here.State();
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, pieces] : want) {
    ASSERT_EQ(got.at(name).size(), pieces.size());
    for (size_t k = 0; k < pieces.size(); ++k) EXPECT_TRUE(SameBits(got.at(name)[k], pieces[k])) << name;
  }
}

TEST_P(AdamWCudaTest, StepsHaveTheBitsOfTheCpu) {
  Training here(kCpu, GetParam()), there(Cuda(0), GetParam());
  for (int step = 0; step < 4; ++step) {
    here.Step();
    there.Step();
  }
  ExpectSame(there, here);
}

TEST_P(AdamWCudaTest, StateOfTheCpuGoesOnOnTheDevice) {
  Training here(kCpu, GetParam()), there(Cuda(0), GetParam());
  here.Step();
  here.Step();
  for (size_t i = 0; i < here.parameters.size(); ++i) there.parameters[i].value = here.parameters[i].value.To(Cuda(0));
  there.seed = here.seed;
  auto state = here.State();
  std::map<std::string, size_t> next;
  const absl::Status loaded = there.optimizer->LoadState(
      2,
      [&](const StateTensor& t, int64_t, int64_t) -> absl::StatusOr<Tensor> { return state[t.name][next[t.name]++]; });
  ASSERT_TRUE(loaded.ok()) << loaded;
  here.Step();
  there.Step();
  ExpectSame(there, here);
}

class AdamW8CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

TEST_F(AdamW8CudaTest, ThereMayBeMore8BitSegmentsThanOneLaunchTakes) {
  const int64_t n = 300, bytes = 2 * BlockElements(DType::kU8);
  std::vector<Tensor> here, there;
  std::vector<AdamWSegment> cpu, cuda;
  const auto add = [](std::vector<AdamWSegment>& to, const Tensor* t) {
    to.push_back({.g = t[0].view(), .p = t[1].view(), .m = t[2].view(), .v = t[3].view(), .lr = 0.01});
  };
  for (uint32_t i = 0; i < 60; ++i) {
    for (const Tensor& t : {RandomTensor({n}, DType::kF32, i), RandomTensor({n}, DType::kF32, i + 100),
                            Tensor::Zeros({bytes}, DType::kU8), Tensor::Zeros({bytes}, DType::kU8)}) {
      here.push_back(t);
      there.push_back(t.To(Cuda(0)));
    }
  }
  for (size_t i = 0; i < here.size(); i += 4) {
    add(cpu, &here[i]);
    add(cuda, &there[i]);
  }
  const AdamWStep step = {.c1 = 0.1, .c2 = 0.03};
  kCpuAdamW8.step(cpu.data(), static_cast<int64_t>(cpu.size()), step, {});
  kCudaAdamW8.step(cuda.data(), static_cast<int64_t>(cuda.size()), step, {});
  for (size_t i = 0; i < here.size(); ++i) EXPECT_TRUE(SameBits(there[i].To(kCpu), here[i])) << i;
}

TEST_F(AdamW8CudaTest, ABlockThatIsNotFiniteStaysVisible) {
  const Tensor g = RandomTensor({256}, DType::kF32, 1), p = RandomTensor({256}, DType::kF32, 2);
  g.data<float>()[3] = std::numeric_limits<float>::infinity();
  const Tensor m = Tensor::Zeros({260}, DType::kU8), v = m.Clone();
  const Tensor on[] = {g.To(Cuda(0)), p.To(Cuda(0)), m.To(Cuda(0)), v.To(Cuda(0))};
  const AdamWSegment cpu = {.g = g.view(), .p = p.view(), .m = m.view(), .v = v.view(), .lr = 0.01};
  const AdamWSegment cuda = {.g = on[0].view(), .p = on[1].view(), .m = on[2].view(), .v = on[3].view(), .lr = 0.01};
  kCpuAdamW8.step(&cpu, 1, {}, {});
  kCudaAdamW8.step(&cuda, 1, {}, {});
  EXPECT_TRUE(SameBits(on[2].To(kCpu), m));
  EXPECT_TRUE(SameBits(on[3].To(kCpu), v));
}

INSTANTIATE_TEST_SUITE_P(Stores, AdamWCudaTest, testing::Values(DType::kF32, DType::kU8),
                         [](const testing::TestParamInfo<DType>& info) { return Name(info.param); });

}  // namespace
}  // namespace lorikeet
