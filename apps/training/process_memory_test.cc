#include "apps/training/process_memory.h"

#include <sys/mman.h>

#include <cstring>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

// Pages straight from the kernel and back: a heap may keep what is freed, and AddressSanitizer's does.
TEST(ProcessMemoryTest, MemoryThatIsTouchedIsCountedUntilItGoesBack) {
  constexpr int64_t kBytes = 64 << 20;
  const int64_t before = ResidentBytes();
  EXPECT_GT(before, 0);
  void* pages = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  std::memset(pages, 1, kBytes);
  EXPECT_GE(ResidentBytes(), before + kBytes * 9 / 10);
  ASSERT_EQ(::munmap(pages, kBytes), 0);
  EXPECT_LT(ResidentBytes(), before + kBytes / 2);
}

}  // namespace
}  // namespace lorikeet
