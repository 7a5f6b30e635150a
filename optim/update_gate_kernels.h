// UpdateGate's kernel: the contract of a backend.
//
//   decide   gate[0] = the factor that clips gradients, ClipFactor of the root of their squares' sum (optim/clip.h),
//            formed in f64 from the first `gradients` of sums in order; NaN, and gate[1] = 0, from the first time on
//            that one of the sums is not finite
//
// sums f64 [n], n >= gradients, contiguous: of each gradient's squares, and of what else must be finite. gate f64 [2]:
// gate[1] is 1 at the start. Every backend gives the same bits.
#ifndef LORIKEET_OPTIM_UPDATE_GATE_KERNELS_H_
#define LORIKEET_OPTIM_UPDATE_GATE_KERNELS_H_

#include <cstdint>

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct UpdateGateKernels {
  void (*decide)(View sums, int64_t gradients, double max_norm, View gate, LaunchContext) = nullptr;
};

extern const UpdateGateKernels kCpuUpdateGate;
extern const UpdateGateKernels kCudaUpdateGate;

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_UPDATE_GATE_KERNELS_H_
