#include "tensor/kernels/cuda_scratch.h"

#include <cstddef>
#include <cstdint>

#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"

namespace lorikeet::internal {
namespace {

TEST(CudaScratchTest, ASlotKeepsItsMemoryUntilMoreIsAskedOfIt) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  void* first = CudaScratch(kCudaScratchAttention, 1000);
  EXPECT_NE(first, nullptr);
  EXPECT_EQ(CudaScratch(kCudaScratchAttention, 10), first);
  EXPECT_NE(CudaScratch(kCudaScratchMatMulSums, 1000), first);
  EXPECT_EQ(CudaScratch(kCudaScratchAttention, 1000), first);
  void* grown = CudaScratch(kCudaScratchAttention, size_t{1} << 20);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(grown) % 256, 0u);
  EXPECT_EQ(CudaScratch(kCudaScratchAttention, 1000), grown);
}

TEST(CudaScratchDeathTest, RunningOutOfMemoryEndsTheProcess) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  EXPECT_EXIT(CudaScratch(kCudaScratchAttention, size_t{1} << 46), testing::ExitedWithCode(3),
              "out of memory: .* scratch");
}

}  // namespace
}  // namespace lorikeet::internal
