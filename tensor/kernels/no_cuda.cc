// The tables of the CUDA side that have no kernels: in a build without CUDA all of them, so that a missing kernel is a
// null entry. A family moves into the #ifndef when its .cu file defines its table.
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/norm.h"
#include "tensor/kernels/rope.h"

namespace lorikeet {

const AdamWKernels kCudaAdamW = {};
const AttentionKernels kCudaAttention = {};
const MatMulKernels kCudaMatMul = {};
const NormKernels kCudaNorm = {};
const RopeKernels kCudaRope = {};

#ifndef LORIKEET_CUDA
const ElementwiseKernels kCudaElementwise = {};
const CopyKernels kCudaCopy = {};
#endif

}  // namespace lorikeet
