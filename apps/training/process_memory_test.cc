#include "apps/training/process_memory.h"

#include <vector>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

TEST(ProcessMemoryTest, MemoryThatIsTouchedIsCountedAndThePeakStays) {
  constexpr int64_t kBytes = 64 << 20;
  const int64_t before = ResidentBytes();
  EXPECT_GT(before, 0);
  {
    std::vector<char> touched(kBytes, 1);
    EXPECT_GE(ResidentBytes(), before + kBytes * touched[0] * 9 / 10);
  }
  EXPECT_LT(ResidentBytes(), before + kBytes / 2);
  EXPECT_GE(PeakResidentBytes(), before + kBytes * 9 / 10);
}

}  // namespace
}  // namespace lorikeet
