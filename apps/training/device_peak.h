// The rate that a run's share of the peak is taken of.
//
//   const double peak = DevicePeakFlops(device, DType::kBF16);        // FLOP/s
//
// On the CPU the rate of the product's instruction, measured on registers (tensor/kernels/peak.h); on a GPU the rate of
// a large square product, since nothing a program can run is faster. Takes some hundredths of a second.
#ifndef LORIKEET_APPS_TRAINING_DEVICE_PEAK_H_
#define LORIKEET_APPS_TRAINING_DEVICE_PEAK_H_

#include "tensor/device.h"
#include "tensor/dtype.h"

namespace lorikeet {

double DevicePeakFlops(Device device, DType dtype);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_DEVICE_PEAK_H_
