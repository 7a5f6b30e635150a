// The CUDA AdamW kernel against the CPU's, bit for bit.
#include "tensor/kernels/adamw.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;

class AdamWCudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

AdamWStep Step(int t) {
  return {
      .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .c1 = 1 - std::pow(0.9, t), .c2 = std::sqrt(1 - std::pow(0.999, t))};
}

// g, p, m and v of one parameter; the moments begin as zeros.
using Arrays = std::array<Tensor, 4>;

Arrays RandomArrays(int64_t n, uint32_t seed) {
  return {RandomTensor({n}, DType::kF32, seed, -0.1, 0.1), RandomTensor({n}, DType::kF32, seed + 1),
          Tensor::Zeros({n}, DType::kF32), Tensor::Zeros({n}, DType::kF32)};
}

AdamWSegment Segment(const Arrays& a, int64_t skip, double lr) {
  const auto view = [skip](const Tensor& t) { return t.Slice(0, skip, t.dim(0)).view(); };
  return {.g = view(a[0]), .p = view(a[1]), .m = view(a[2]), .v = view(a[3]), .lr = lr, .weight_decay = 0.01};
}

// The same bits; of NaN there are several, and processors differ in which they make.
void ExpectSame(const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.size(), want.size());
  for (int64_t i = 0; i < want.size(); ++i) {
    const float g = got.data<float>()[i], w = want.data<float>()[i];
    const bool same = std::isnan(w) ? std::isnan(g) : std::bit_cast<uint32_t>(g) == std::bit_cast<uint32_t>(w);
    ASSERT_TRUE(same) << i << ": got " << g << ", want " << w;
  }
}

// Three steps over all segments on both sides; `skip` leaves that many first elements of each out.
void ExpectSameSteps(const std::vector<Arrays>& here, int64_t skip) {
  std::vector<Arrays> there;
  for (const Arrays& a : here)
    there.push_back({a[0].To(Cuda(0)), a[1].To(Cuda(0)), a[2].To(Cuda(0)), a[3].To(Cuda(0))});
  for (int t = 1; t <= 3; ++t) {
    std::vector<AdamWSegment> cpu, cuda;
    for (size_t i = 0; i < here.size(); ++i) {
      cpu.push_back(Segment(here[i], skip, 1e-3 * static_cast<double>(i + 1)));
      cuda.push_back(Segment(there[i], skip, 1e-3 * static_cast<double>(i + 1)));
    }
    kCpuAdamW.step(cpu.data(), static_cast<int64_t>(cpu.size()), Step(t), {});
    kCudaAdamW.step(cuda.data(), static_cast<int64_t>(cuda.size()), Step(t), {});
  }
  for (size_t i = 0; i < here.size(); ++i) {
    for (int k = 1; k < 4; ++k) ExpectSame(there[i][k].To(kCpu), here[i][k]);
  }
}

TEST_F(AdamWCudaTest, SegmentsOfAnySizeHaveTheBitsOfTheCpu) {
  ExpectSameSteps({RandomArrays(1, 1), RandomArrays(8192, 3), RandomArrays(4097, 5), RandomArrays(12288, 7)}, 0);
}

TEST_F(AdamWCudaTest, SegmentsMayBeginAnywhere) { ExpectSameSteps({RandomArrays(515, 9), RandomArrays(4100, 11)}, 3); }

TEST_F(AdamWCudaTest, ThereMayBeMoreSegmentsThanOneLaunchTakes) {
  std::vector<Arrays> many;
  for (int i = 0; i < 117; ++i) many.push_back(RandomArrays(4 * (i % 5), 100 + 2 * i));
  ExpectSameSteps(many, 0);
}

TEST_F(AdamWCudaTest, ZeroAndNonFiniteGradientsDoAsOnTheCpu) {
  Arrays a = RandomArrays(64, 13);
  a[0].data<float>()[0] = 0;
  a[0].data<float>()[1] = std::numeric_limits<float>::infinity();
  a[0].data<float>()[2] = 1e-30f;
  ExpectSameSteps({a}, 0);
}

TEST_F(AdamWCudaTest, NoSegmentsAreNothing) {
  kCudaAdamW.step(nullptr, 0, Step(1), {});
  EXPECT_EQ(kCudaAdamW.update, nullptr);  // CPU only
}

}  // namespace
}  // namespace lorikeet
