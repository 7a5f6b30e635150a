// The tests of every CUDA kernel once more, on a simulated device whose blocks have no more shared memory than a
// consumer's: 99 KB (compute capability 8.6, 8.9 and 12). A launch that wants more fails there, and so here.
#include <cstdlib>

#include "gtest/gtest.h"

int main(int argc, char** argv) {
  setenv("CUSIM_SHARED_MEMORY", "101376", /*overwrite=*/1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
