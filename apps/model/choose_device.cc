#include "apps/model/choose_device.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensor/cuda_memory.h"

namespace lorikeet {
namespace {

std::string NoGpu() {
  if (CudaIsSimulated()) return "no usable GPU: this build simulates CUDA, for tests";
  return CudaUnavailable();
}

}  // namespace

absl::StatusOr<DeviceChoice> ChooseDevice(absl::string_view name) {
  if (name == "cpu") return DeviceChoice{kCpu, ""};
  if (name != "auto" && name != "cuda") {
    return absl::InvalidArgumentError(absl::StrCat("--device=", name, ": expected auto, cpu or cuda"));
  }
  const std::string none = NoGpu();
  if (none.empty()) return DeviceChoice{Cuda(0), CudaDeviceName()};
  if (name == "auto") return DeviceChoice{kCpu, none};
  return absl::InvalidArgumentError(absl::StrCat("--device=cuda: ", none, "; --device=cpu or auto runs on the CPU"));
}

}  // namespace lorikeet
