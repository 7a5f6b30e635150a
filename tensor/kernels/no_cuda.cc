// The tables of a build without CUDA: all empty, so that a missing kernel is a null entry. With CUDA every one of them
// is defined by its .cu file.
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

#ifndef LORIKEET_CUDA
const ActivationKernels kCudaActivation = {};
const AdamWKernels kCudaAdamW = {};
const AttentionKernels kCudaAttention = {};
const ColumnScaleKernels kCudaColumnScale = {};
const CopyKernels kCudaCopy = {};
const CrossEntropyKernels kCudaCrossEntropy = {};
const ElementwiseKernels kCudaElementwise = {};
const GatherKernels kCudaGather = {};
const LayerNormKernels kCudaLayerNorm = {};
const MatMulKernels kCudaMatMul = {};
const NormKernels kCudaNorm = {};
const RandomKernels kCudaRandom = {};
const ReduceKernels kCudaReduce = {};
const RopeKernels kCudaRope = {};
const SoftmaxKernels kCudaSoftmax = {};
#endif

}  // namespace lorikeet
