// The CUDA side of a build without CUDA: every table is empty, so a missing kernel is a null entry.
#include "tensor/kernels/copy.h"

namespace lorikeet {

const CopyKernels kCudaCopy = {};

}  // namespace lorikeet
