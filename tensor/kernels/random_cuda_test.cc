// The CUDA random kernels against the CPU's: the same bits, but for the last one of a logarithm or a cosine.
#include "tensor/kernels/random.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/testing.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;
using tensor::SameBits;

constexpr RngKey kKey{.seed = 0x123456789abcdef0u, .stream = 77};

class RandomCudaTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

// The last bit of the dtype.
double Ulp(DType dtype) { return dtype == DType::kBF16 ? 0x1p-7 : dtype == DType::kF16 ? 0x1p-10 : 0x1p-22; }

TEST_P(RandomCudaTest, UniformNumbersHaveTheBitsOfTheCpu) {
  for (int64_t n : {1, 3, 8, 1037, 20000}) {
    const Tensor y = Tensor::Zeros({n}, GetParam()), z = Tensor::Zeros({n}, GetParam(), Cuda(0));
    kCpuRandom.uniform(-0.3, 1.7, kKey, y.view(), {});
    kCudaRandom.uniform(-0.3, 1.7, kKey, z.view(), {});
    EXPECT_TRUE(SameBits(z.To(kCpu), y)) << n;
  }
}

TEST_P(RandomCudaTest, NormalNumbersAreThoseOfTheCpu) {
  for (int64_t n : {1, 2, 7, 2051}) {
    const Tensor y = Tensor::Zeros({n}, GetParam()), z = Tensor::Zeros({n}, GetParam(), Cuda(0));
    kCpuRandom.normal(0.5, 2, kKey, y.view(), {});
    kCudaRandom.normal(0.5, 2, kKey, z.view(), {});
    EXPECT_TRUE(tensor::IsClose(z, tensor::Values(y), Ulp(GetParam()))) << n;
  }
}

TEST_P(RandomCudaTest, DropoutHasTheBitsOfTheCpu) {
  for (int64_t n : {5, 16, 1031}) {
    const Tensor x = RandomTensor({n}, GetParam(), 1), there = x.To(Cuda(0));
    for (double p : {0.0, 0.1, 0.5, 1.0}) {
      const Tensor y = Tensor::Zeros({n}, GetParam()), z = Tensor::Zeros({n}, GetParam(), Cuda(0));
      kCpuRandom.dropout(x.view(), p, kKey, y.view(), {});
      kCudaRandom.dropout(there.view(), p, kKey, z.view(), {});
      EXPECT_TRUE(SameBits(z.To(kCpu), y)) << n << ", p " << p;
    }
  }
}

TEST_P(RandomCudaTest, StridedAndOffsetViewsCountTheirOwnElements) {
  const auto inner = [](const Tensor& t) { return t.Transpose(0, 1).Slice(0, 3, 10); };  // [7, 9]
  const Tensor x = RandomTensor({9, 13}, GetParam(), 2), there = x.To(Cuda(0));
  const Tensor y = Tensor::Zeros({9, 13}, GetParam()), z = Tensor::Zeros({9, 13}, GetParam(), Cuda(0));
  kCpuRandom.dropout(inner(x).view(), 0.3, kKey, inner(y).view(), {});
  kCudaRandom.dropout(inner(there).view(), 0.3, kKey, inner(z).view(), {});
  EXPECT_TRUE(SameBits(z.To(kCpu), y));
  kCpuRandom.uniform(0, 1, kKey, y.Reshape({117}).Slice(0, 3, 115).view(), {});
  kCudaRandom.uniform(0, 1, kKey, z.Reshape({117}).Slice(0, 3, 115).view(), {});
  EXPECT_TRUE(SameBits(z.To(kCpu), y));
}

TEST_P(RandomCudaTest, AKeyInMemoryIsReadWhenTheKernelRuns) {
  const Tensor x = Tensor::Full({1000}, 3, GetParam()), y = Tensor::Empty({1000}, GetParam());
  const Tensor there = x.To(Cuda(0)), z = Tensor::Empty({1000}, GetParam(), Cuda(0));
  Tensor words = Tensor::Zeros({sizeof(RngKey)}, DType::kU8, Cuda(0));
  for (const RngKey base : {kKey, kKey.Fold(3)}) {
    uint8_t bytes[sizeof base];
    std::memcpy(bytes, &base, sizeof base);
    tensor::CopyInto(Tensor::From<uint8_t>(bytes, {sizeof base}).To(Cuda(0)), words);
    kCpuRandom.dropout(x.view(), 0.3, base.Fold(7), y.view(), {});
    kCudaRandom.dropout(there.view(), 0.3, KeySource(static_cast<const RngKey*>(words.raw()), 7), z.view(), {});
    EXPECT_TRUE(tensor::SameBits(z.To(kCpu), y));
  }
}

TEST_P(RandomCudaTest, DropoutWorksInPlaceAndDropsNan) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor z = Tensor::Full({300}, nan, GetParam(), Cuda(0));
  kCudaRandom.dropout(z.view(), 0.5, kKey, z.view(), {});
  int kept = 0;
  for (double v : tensor::Values(z)) kept += std::isnan(v);
  EXPECT_GT(kept, 100);
  EXPECT_LT(kept, 200);
  kCudaRandom.dropout(z.view(), 1, kKey, z.view(), {});
  EXPECT_TRUE(SameBits(z.To(kCpu), Tensor::Zeros({300}, GetParam())));
}

TEST_P(RandomCudaTest, NothingIsDoneForNoElements) {
  const Tensor z = Tensor::Empty({0, 4}, GetParam(), Cuda(0));
  kCudaRandom.uniform(0, 1, kKey, z.view(), {});
  kCudaRandom.normal(0, 1, kKey, z.view(), {});
  kCudaRandom.dropout(z.view(), 0.5, kKey, z.view(), {});
  EXPECT_EQ(z.size(), 0);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, RandomCudaTest, testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                         [](const testing::TestParamInfo<DType>& info) { return Name(info.param); });

}  // namespace
}  // namespace lorikeet
