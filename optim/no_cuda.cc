// The tables of this package's CUDA kernels in a build without CUDA: null entries.
#include "optim/adamw8.h"

namespace lorikeet {

#ifndef LORIKEET_CUDA
const AdamW8Kernels kCudaAdamW8 = {};
#endif

}  // namespace lorikeet
