// The tables of this package's CUDA kernels in a build without CUDA: null entries.
#include "quant/nf4_kernels.h"

namespace lorikeet {

#ifndef LORIKEET_CUDA
const Nf4Kernels kCudaNf4 = {};
#endif

}  // namespace lorikeet
