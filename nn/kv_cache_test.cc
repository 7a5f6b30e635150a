#include "nn/kv_cache.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

// Rows [n, 2 heads, 3]: `value` everywhere.
Tensor Rows(int64_t n, double value) { return Tensor::Full({n, 2, 3}, value, DType::kF32); }

Tensor From(int32_t first, int64_t n) {
  std::vector<int32_t> positions(static_cast<size_t>(n));
  std::iota(positions.begin(), positions.end(), first);
  return Tensor::From<int32_t>(positions, {n});
}

TEST(KvCacheTest, RowsFollowEachOtherInEveryLayer) {
  KvCache cache(2, 5, 2, 3, DType::kF32);
  cache.Append(0, Rows(3, 1), Rows(3, 2), From(0, 3));
  cache.Append(1, Rows(3, 3), Rows(3, 4), From(0, 3));
  cache.Advance(3);
  const auto [k, v] = cache.Append(1, Rows(2, 5), Rows(2, 6), From(3, 2));
  EXPECT_EQ(k.shape(), (Shape{5, 2, 3}));
  EXPECT_TRUE(tensor::SameBits(k.Slice(0, 0, 3), Rows(3, 3)));
  EXPECT_TRUE(tensor::SameBits(k.Slice(0, 3, 5), Rows(2, 5)));
  EXPECT_TRUE(tensor::SameBits(v.Slice(0, 0, 3), Rows(3, 4)));
  EXPECT_TRUE(tensor::SameBits(v.Slice(0, 3, 5), Rows(2, 6)));
}

TEST(KvCacheTest, LengthGrowsByAdvanceAlone) {
  KvCache cache(2, 5, 2, 3, DType::kF32);
  EXPECT_EQ(cache.length(), 0);
  cache.Append(0, Rows(2, 1), Rows(2, 1), From(0, 2));
  EXPECT_EQ(cache.length(), 0);  // layer 1 still has to write the same rows
  cache.Advance(2);
  EXPECT_EQ(cache.length(), 2);
  EXPECT_EQ(cache.capacity(), 5);
}

TEST(KvCacheTest, TruncateForgetsTheEnd) {
  KvCache cache(1, 5, 2, 3, DType::kF32);
  cache.Append(0, Rows(4, 1), Rows(4, 1), From(0, 4));
  cache.Advance(4);
  cache.Truncate(1);
  const auto [k, v] = cache.Append(0, Rows(2, 7), Rows(2, 8), From(1, 2));
  EXPECT_EQ(k.dim(0), 3);
  EXPECT_TRUE(tensor::SameBits(k.Slice(0, 0, 1), Rows(1, 1)));
  EXPECT_TRUE(tensor::SameBits(k.Slice(0, 1, 3), Rows(2, 7)));
}

TEST(KvCacheTest, RowsAreRoundedToItsDType) {
  KvCache cache(1, 2, 2, 3, DType::kBF16);
  const auto [k, v] = cache.Append(0, Rows(1, 1.00390625), Rows(1, 0.5), From(0, 1));  // 1 + 2^-8: halfway, to even
  EXPECT_EQ(k.dtype(), DType::kBF16);
  EXPECT_TRUE(tensor::SameBits(k, Rows(1, 1).Cast(DType::kBF16)));
}

TEST(KvCacheTest, SeqlensKeepTheirMemory) {
  KvCache cache(1, 9, 2, 3, DType::kF32);
  const Tensor first = cache.CuSeqlens(4);
  EXPECT_TRUE(tensor::SameBits(first, Tensor::From<int32_t>({0, 4}, {2})));
  cache.Advance(4);
  EXPECT_EQ(cache.CuSeqlens(1).raw(), first.raw());
  EXPECT_TRUE(tensor::SameBits(first, Tensor::From<int32_t>({0, 5}, {2})));
}

TEST(KvCacheTest, OnADeviceViewsHaveFewLengths) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  KvCache cache(1, 700, 2, 3, DType::kF32, Cuda(0));
  EXPECT_EQ(cache.Rows(1), 256);
  EXPECT_EQ(cache.Rows(256), 256);
  EXPECT_EQ(cache.Rows(257), 512);
  EXPECT_EQ(cache.Rows(513), 700);
  const auto [k, v] = cache.Append(0, Rows(3, 1).To(Cuda(0)), Rows(3, 2).To(Cuda(0)), From(0, 3).To(Cuda(0)));
  EXPECT_EQ(k.shape(), (Shape{256, 2, 3}));
  EXPECT_TRUE(tensor::SameBits(k.Slice(0, 0, 3).To(kCpu), Rows(3, 1)));
  EXPECT_TRUE(tensor::SameBits(v.Slice(0, 0, 3).To(kCpu), Rows(3, 2)));
}

TEST(KvCacheDeathTest, MoreRowsThanItsCapacityAbort) {
  KvCache cache(1, 3, 2, 3, DType::kF32);
  EXPECT_DEATH(cache.Append(0, Rows(4, 1), Rows(4, 1), From(0, 4)), "4 tokens, capacity 3");
  EXPECT_DEATH(cache.Truncate(1), "truncate to 1 of 0");
}

}  // namespace
}  // namespace lorikeet
