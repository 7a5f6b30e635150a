#include "apps/model/choose_device.h"

#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"

namespace lorikeet {
namespace {

bool HasGpu() { return CudaUnavailable().empty() && !CudaIsSimulated(); }

TEST(ChooseDevice, CpuIsTakenWithoutALookAtTheGpu) {
  const absl::StatusOr<DeviceChoice> d = ChooseDevice("cpu");
  ASSERT_TRUE(d.ok());
  EXPECT_TRUE(d->device.is_cpu());
  EXPECT_EQ(d->why, "");
}

TEST(ChooseDevice, AutoTakesTheGpuIfThereIsOneAndSaysWhy) {
  const absl::StatusOr<DeviceChoice> d = ChooseDevice("auto");
  ASSERT_TRUE(d.ok());
  EXPECT_EQ(d->device.is_cuda(), HasGpu());
  EXPECT_FALSE(d->why.empty());
}

TEST(ChooseDevice, CudaWithoutAGpuIsAnErrorWithTheReason) {
  const absl::StatusOr<DeviceChoice> d = ChooseDevice("cuda");
  if (HasGpu()) {
    EXPECT_TRUE(d.ok());
  } else {
    EXPECT_EQ(d.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(d.status().message()).find("--device=cpu"), std::string::npos) << d.status();
  }
}

TEST(ChooseDevice, AnotherNameIsAnErrorThatListsTheNames) {
  const absl::StatusOr<DeviceChoice> d = ChooseDevice("gpu0");
  EXPECT_EQ(d.status().message(), "--device=gpu0: expected auto, cpu or cuda");
}

}  // namespace
}  // namespace lorikeet
