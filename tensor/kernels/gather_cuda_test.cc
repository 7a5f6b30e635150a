// The CUDA gather kernels against the CPU's, bit for bit: sums are formed in the order of the ids on both.
#include "tensor/kernels/gather.h"

#include <cstdint>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;
using tensor::SameBits;

Tensor Ids(int64_t n, int64_t rows, uint32_t seed) {
  std::mt19937 bits(seed);
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int32_t& id : ids) id = static_cast<int32_t>(bits() % static_cast<uint32_t>(rows));
  return Tensor::From<int32_t>(absl::MakeConstSpan(ids), {n});
}

class GatherCudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

TEST_F(GatherCudaTest, RowsOfEveryDtypeAndWidthAreCopied) {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64, DType::kU8}) {
    for (int64_t d : {1, 7, 16, 80}) {
      const Tensor table = RandomTensor({19, d}, DType::kF32, 1, 0, 100).Cast(dtype), ids = Ids(41, 19, 2);
      const Tensor y = Tensor::Zeros({41, d}, dtype), z = Tensor::Zeros({41, d}, dtype, Cuda(0));
      kCpuGather.gather_rows(table.view(), ids.view(), y.view(), {});
      kCudaGather.gather_rows(table.To(Cuda(0)).view(), ids.To(Cuda(0)).view(), z.view(), {});
      EXPECT_TRUE(SameBits(z.To(kCpu), y)) << Name(dtype) << " " << d;
    }
  }
}

TEST_F(GatherCudaTest, RowsOfEveryDtypeAndWidthAreScattered) {
  const Tensor ids = Tensor::From<int32_t>({18, 3, 4, 0, 11}, {5});
  for (DType dtype : {DType::kF64, DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64, DType::kU8}) {
    for (int64_t d : {1, 7, 16, 80}) {
      const Tensor table = RandomTensor({19, d}, DType::kF32, 1, 0, 100).Cast(dtype).Clone();
      const Tensor x = RandomTensor({5, d}, DType::kF32, 2, 0, 100).Cast(dtype), there = table.To(Cuda(0));
      kCpuGather.scatter_rows(x.view(), ids.view(), table.view(), {});
      kCudaGather.scatter_rows(x.To(Cuda(0)).view(), ids.To(Cuda(0)).view(), there.view(), {});
      EXPECT_TRUE(SameBits(there.To(kCpu), table)) << Name(dtype) << " " << d;
    }
  }
}

TEST_F(GatherCudaTest, RowsMayLieApart) {
  const Tensor table = RandomTensor({19, 40}, DType::kBF16, 3), there = table.To(Cuda(0)), ids = Ids(11, 19, 4);
  const Tensor dy = RandomTensor({11, 40}, DType::kBF16, 5), dy_there = dy.To(Cuda(0)), ids_there = ids.To(Cuda(0));
  for (const auto& [begin, end] : {std::pair{8, 24}, {3, 30}}) {
    const auto part = [begin = begin, end = end](const Tensor& t) { return t.Slice(1, begin, end); };
    const Tensor y = Tensor::Zeros({11, 40}, DType::kBF16), z = Tensor::Zeros({11, 40}, DType::kBF16, Cuda(0));
    kCpuGather.gather_rows(part(table).view(), ids.view(), part(y).view(), {});
    kCudaGather.gather_rows(part(there).view(), ids_there.view(), part(z).view(), {});
    EXPECT_TRUE(SameBits(z.To(kCpu), y));
    const Tensor sum = Tensor::Zeros({19, 40}, DType::kF32), sum_there = sum.To(Cuda(0));
    kCpuGather.scatter_add_rows(part(dy).view(), ids.view(), part(sum).view(), {});
    kCudaGather.scatter_add_rows(part(dy_there).view(), ids_there.view(), part(sum_there).view(), {});
    EXPECT_TRUE(SameBits(sum_there.To(kCpu), sum));
  }
}

TEST_F(GatherCudaTest, EqualIdsAddInTheirOrder) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const auto& [n, rows, d] : {std::tuple{37, 5, 7}, {200, 3, 64}, {60, 50, 2056}}) {
      const Tensor dy = RandomTensor({n, d}, dtype, 6), ids = Ids(n, rows, 7);
      const Tensor sum = RandomTensor({rows, d}, DType::kF32, 8), there = sum.To(Cuda(0));
      kCpuGather.scatter_add_rows(dy.view(), ids.view(), sum.view(), {});
      kCudaGather.scatter_add_rows(dy.To(Cuda(0)).view(), ids.To(Cuda(0)).view(), there.view(), {});
      EXPECT_TRUE(SameBits(there.To(kCpu), sum)) << Name(dtype) << " " << n << " " << d;
    }
  }
}

TEST_F(GatherCudaTest, EqualIdsMayBeFarApart) {
  const int64_t n = 2500;  // three chunks of ids
  std::vector<int32_t> ids(n, 0);
  for (int64_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>(i < 40 ? i + 1 : i % 1000 == 7 ? 3 : 0);
  const Tensor there = Tensor::From<int32_t>(absl::MakeConstSpan(ids), {n}).To(Cuda(0));
  const Tensor dy = RandomTensor({n, 1}, DType::kF32, 9), sum = Tensor::Zeros({41, 1}, DType::kF32);
  const Tensor sum_there = sum.To(Cuda(0));
  kCpuGather.scatter_add_rows(dy.view(), there.To(kCpu).view(), sum.view(), {});
  kCudaGather.scatter_add_rows(dy.To(Cuda(0)).view(), there.view(), sum_there.view(), {});
  EXPECT_TRUE(SameBits(sum_there.To(kCpu), sum));
}

TEST_F(GatherCudaTest, NoIdsAndNoColumnsAreNothing) {
  const Tensor table = Tensor::Zeros({3, 4}, DType::kF32, Cuda(0)), ids = Tensor::Empty({0}, DType::kI32, Cuda(0));
  kCudaGather.gather_rows(table.view(), ids.view(), Tensor::Empty({0, 4}, DType::kF32, Cuda(0)).view(), {});
  kCudaGather.scatter_add_rows(Tensor::Empty({0, 4}, DType::kF32, Cuda(0)).view(), ids.view(), table.view(), {});
  EXPECT_TRUE(SameBits(table.To(kCpu), Tensor::Zeros({3, 4}, DType::kF32)));
}

using GatherCudaDeathTest = GatherCudaTest;

TEST_F(GatherCudaDeathTest, AnIdOutOfRangeEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // a fork has no device
  const Tensor table = Tensor::Zeros({3, 4}, DType::kF32, Cuda(0)), y = Tensor::Zeros({2, 4}, DType::kF32, Cuda(0));
  const auto wait = [&] { return y.To(kCpu).size() + table.To(kCpu).size(); };
  const Tensor high = Tensor::From<int32_t>({0, 3}, {2}).To(Cuda(0)),
               low = Tensor::From<int32_t>({-1, 0}, {2}).To(Cuda(0));
  EXPECT_DEATH((kCudaGather.gather_rows(table.view(), high.view(), y.view(), {}), wait()), kTrapped);
  EXPECT_DEATH((kCudaGather.scatter_add_rows(y.view(), low.view(), table.view(), {}), wait()), kTrapped);
}

}  // namespace
}  // namespace lorikeet
