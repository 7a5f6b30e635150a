// Which device a program runs on: what --device says, and what there is.
//
//   absl::StatusOr<DeviceChoice> d = ChooseDevice("auto");
//   d->device;                    // Cuda(0), or kCpu
//   d->why;                       // "NVIDIA H200, 150 GB, driver for CUDA 13.0", or "no usable GPU: no NVIDIA driver
//   ..."
//
// "auto" takes a GPU that works, else the CPU; "cpu" and "cuda" take that. The simulator that tests run kernels on is
// not a GPU. InvalidArgument: "cuda" where there is none, with the reason; or another name.
#ifndef LORIKEET_APPS_MODEL_CHOOSE_DEVICE_H_
#define LORIKEET_APPS_MODEL_CHOOSE_DEVICE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/device.h"

namespace lorikeet {

struct DeviceChoice {
  Device device;
  std::string why;  // a GPU's name, or why there is none; empty: the CPU was asked for
};

absl::StatusOr<DeviceChoice> ChooseDevice(absl::string_view name);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_CHOOSE_DEVICE_H_
