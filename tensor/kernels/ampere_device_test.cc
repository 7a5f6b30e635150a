// The tests of attention once more, on a simulated device of compute capability 8.0: its blocks have 163 KB of shared
// memory, room for the larger shapes of tiles, and no products by warpgroups.
#include <cstdlib>

#include "gtest/gtest.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

TEST(AmpereDeviceTest, ABlockHasTheSharedMemoryOfOne) {
  int most = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), cudaSuccess);
  EXPECT_EQ(most, 163 << 10);
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  setenv("CUSIM_SHARED_MEMORY", "166912", /*overwrite=*/1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
