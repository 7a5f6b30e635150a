// The tests of every CUDA kernel of this package once more, on a simulated device whose blocks have no more shared
// memory than a consumer's: 99 KB (compute capability 8.6, 8.9 and 12). A launch that wants more fails, and so does its
// test.
#include <cstdlib>

#include "gtest/gtest.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

constexpr int kConsumerSharedMemory = 99 << 10;

__global__ void NothingKernel() {}

TEST(ConsumerDeviceTest, ABlockHasNoMoreSharedMemory) {
  int most = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), cudaSuccess);
  EXPECT_EQ(most, kConsumerSharedMemory);
  EXPECT_EQ(cudaFuncSetAttribute(NothingKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), cudaSuccess);
  EXPECT_NE(cudaFuncSetAttribute(NothingKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most + 1), cudaSuccess);
  EXPECT_NE(Launch(NothingKernel, 1, 32, static_cast<size_t>(most) + 1, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  setenv("CUSIM_SHARED_MEMORY", "101376", /*overwrite=*/1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
