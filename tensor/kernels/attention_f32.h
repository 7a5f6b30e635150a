// Attention in f32 arithmetic over f32, bf16 or f16 tensors, tile by tile: the fast path of the CPU. Products of bf16
// tensors use the processor's instructions for bf16 where there are some (attention_bf16.h).
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_F32_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_F32_H_

#include "tensor/kernels/attention.h"
#include "tensor/view.h"

namespace lorikeet::internal {

void AttentionF32(const View& q, const View& k, const View& v, const AttentionParams& params, const View& y,
                  const View& lse);
void AttentionGradF32(const View& dy, const View& q, const View& k, const View& v, const View& y, const View& lse,
                      const AttentionParams& params, const View& dq, const View& dk, const View& dv);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_F32_H_
