// The tables of the CUDA side that have no kernels: in a build without CUDA all of them, so that a missing kernel is a
// null entry. A family moves above the line when its .cu file defines its table.
#include "tensor/kernels/copy.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/matmul.h"

namespace lorikeet {

const ElementwiseKernels kCudaElementwise = {};
const MatMulKernels kCudaMatMul = {};

#ifndef LORIKEET_CUDA
const CopyKernels kCudaCopy = {};
#endif

}  // namespace lorikeet
