// The tables of this package's CUDA kernels in a build without CUDA: null entries.
#include "optim/adamw8.h"
#include "optim/update_gate_kernels.h"

namespace lorikeet {

#ifndef LORIKEET_CUDA
const AdamW8Kernels kCudaAdamW8 = {};
const UpdateGateKernels kCudaUpdateGate = {};
#endif

}  // namespace lorikeet
