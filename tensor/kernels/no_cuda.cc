// The tables of the CUDA side that have no kernels: in a build without CUDA all of them, so that a missing kernel is a
// null entry. A family moves into the #ifndef when its .cu file defines its table.
#include "tensor/kernels/activation.h"
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/column_scale.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gather.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/norm.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/rope.h"
#include "tensor/kernels/softmax.h"

namespace lorikeet {

const AdamWKernels kCudaAdamW = {};
const AttentionKernels kCudaAttention = {};
const GatherKernels kCudaGather = {};
const MatMulKernels kCudaMatMul = {};
const RandomKernels kCudaRandom = {};

#ifndef LORIKEET_CUDA
const ActivationKernels kCudaActivation = {};
const ColumnScaleKernels kCudaColumnScale = {};
const CopyKernels kCudaCopy = {};
const CrossEntropyKernels kCudaCrossEntropy = {};
const ElementwiseKernels kCudaElementwise = {};
const LayerNormKernels kCudaLayerNorm = {};
const NormKernels kCudaNorm = {};
const ReduceKernels kCudaReduce = {};
const RopeKernels kCudaRope = {};
const SoftmaxKernels kCudaSoftmax = {};
#endif

}  // namespace lorikeet
