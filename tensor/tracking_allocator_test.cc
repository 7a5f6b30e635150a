#include "tensor/tracking_allocator.h"

#include <string>

#include "gtest/gtest.h"
#include "tensor/allocator.h"
#include "tensor/default_allocator.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/fake_allocator_for_test.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

TEST(TrackingAllocator, CountsLiveAndPeakBytes) {
  FakeAllocator fake(1 << 20);
  TrackingAllocator tracked(&fake);
  Tensor a = Tensor::Empty({100}, DType::kF32, tracked);
  {
    const Tensor b = Tensor::Empty({50}, DType::kF32, tracked);
    EXPECT_EQ(tracked.live_bytes(), 600);
    EXPECT_EQ(tracked.live_blocks(), 2);
  }
  EXPECT_EQ(tracked.live_bytes(), 400);
  EXPECT_EQ(tracked.peak_bytes(), 600);
  tracked.ResetPeak();
  EXPECT_EQ(tracked.peak_bytes(), 400);
}

TEST(TrackingAllocator, AnAllocationThatFailsCountsNothing) {
  FakeAllocator fake(100);
  TrackingAllocator tracked(&fake);
  EXPECT_EQ(tracked.Allocate(200), nullptr);
  EXPECT_EQ(tracked.live_bytes(), 0);
  EXPECT_EQ(tracked.peak_bytes(), 0);
}

TEST(TrackingAllocator, ANameIsATagAndCountsForItself) {
  FakeAllocator fake(1 << 20);
  TrackingAllocator all(&fake, "all"), weights(&all, "weights");
  const Tensor w = Tensor::Empty({64}, DType::kF32, weights);
  const Tensor x = Tensor::Empty({16}, DType::kF32, all);
  EXPECT_EQ(weights.live_bytes(), 256);
  EXPECT_EQ(all.live_bytes(), 320);
}

TEST(TrackingAllocator, ReportsTheLargestHoldersFirst) {
  FakeAllocator fake(1 << 24);
  TrackingAllocator tracked(&fake, "weights");
  const Tensor small[3] = {Tensor::Empty({100000}, DType::kF32, tracked), Tensor::Empty({100000}, DType::kF32, tracked),
                           Tensor::Empty({100000}, DType::kF32, tracked)};
  const Tensor large = Tensor::Empty({200000}, DType::kF32, tracked);
  EXPECT_EQ(tracked.Report(),
            "weights: 2.0 MB live in 4 blocks, at most 2.0 MB\n"
            "  1.2 MB in 3 x 400000 bytes\n"
            "  0.8 MB in 1 x 800000 bytes\n");
}

TEST(DefaultAllocator, TensorsOnTheCpuAreCounted) {
  const int64_t before = HostMemory().live_bytes();
  const Tensor t = Tensor::Empty({1000}, DType::kF32);
  EXPECT_EQ(HostMemory().live_bytes(), before + 4000);
  EXPECT_EQ(&DefaultAllocator(kCpu), &HostMemory());
}

TEST(SystemAllocator, LargeBlocksBeginAtHugePages) {
  SystemAllocator system;
  for (size_t bytes : {size_t{1}, size_t{2} << 20, (size_t{5} << 20) + 12345}) {
    char* const p = static_cast<char*>(system.Allocate(bytes));
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % Allocator::kAlignment, 0u);
    p[0] = 1;
    p[bytes - 1] = 2;
    EXPECT_EQ(p[0] + p[bytes - 1], bytes == 1 ? 4 : 3);
    system.Free(p, bytes);
  }
  EXPECT_EQ(system.Allocate(SIZE_MAX), nullptr);
}

}  // namespace
}  // namespace lorikeet
