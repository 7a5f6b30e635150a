// A GPU host whose driver is of no use: a clear line and exit code 2, or, where the device was not asked for by name,
// the CPU. The CUDA runtime is the real one; the driver is a stand-in (tests/testing/stand_in_driver.cc).
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

class DriverTest : public testing::Test {
 protected:
  void SetUp() override {
    const bool runtime = CudaUnavailable() != "this build has no CUDA backend" && !CudaIsSimulated();
    if (!runtime) GTEST_SKIP() << "this build has no CUDA runtime";
  }
};

// `init`: what the driver answers when it is to be initialised, a CUresult.
Outcome Generate(const std::string& device, int version, int init) {
  const std::string driver =
      absl::StrCat("export LD_LIBRARY_PATH=tests/testing/stand_in_driver STAND_IN_DRIVER_VERSION=", version,
                   " STAND_IN_DRIVER_INIT=", init, ";");
  return RunProgram(
      absl::StrCat("generate --prompt=a --max_tokens=2 --device=", device, " --model=", TinyModel("llama_tied")),
      driver);
}

TEST_F(DriverTest, OneThatIsTooOldIsNamedWithBothVersions) {
  const Outcome o = Generate("cuda", 12020, 0);
  EXPECT_EQ(o.code, 2) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "--device=cuda: no usable GPU: the driver is for CUDA 12.2, too old for CUDA "))
      << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "install a newer driver")) << o.err;
}

TEST_F(DriverTest, OneWithoutADeviceSaysSo) {
  const Outcome o = Generate("cuda", 13000, 100);  // CUDA_ERROR_NO_DEVICE
  EXPECT_EQ(o.code, 2) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "no device is visible to the driver (CUDA_VISIBLE_DEVICES?)")) << o.err;
}

TEST_F(DriverTest, OneThatDoesNotFitTheKernelsModuleGivesTheRuntimesReason) {
  const Outcome o = Generate("cuda", 13000, 803);  // CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
  EXPECT_EQ(o.code, 2) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "system has unsupported display driver / cuda driver combination")) << o.err;
}

TEST_F(DriverTest, WithoutOneOfUseAutoRunsOnTheCpu) {
  for (const auto& [version, init] : {std::pair(12020, 0), std::pair(13000, 100)}) {
    const Outcome o = Generate("auto", version, init);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_FALSE(o.out.empty());
  }
}

}  // namespace
}  // namespace lorikeet
