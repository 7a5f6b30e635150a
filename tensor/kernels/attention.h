// Attention over sequences laid end to end, grouped-query, without ever forming a [tokens, tokens] matrix. The contract
// of a backend.
//
//   attention       y[t,h] = sum_j p[j] * v[j],  p = softmax_j(s),  s[j] = scale * q[t,h].k[j]    j: the visible keys
//                   lse[t,h] = log sum_j exp(s[j]), all that the backward pass needs beside the operands and y
//   attention_grad  dv[j] = sum p*dy;  ds = p*(dy.v[j] - dy.y);  dq = scale * sum_j ds*k[j];  dk[j] = scale * sum ds*q
//
// q, y, dy, dq [tokens, heads, d]; k, v, dk, dv [ctx, kv_heads, d]; lse [tokens, heads]. Head h reads key-value head
// h * kv_heads / heads. With softcap c > 0, s = c * tanh(scale * q.k / c).
// Sequence n is the tokens cu_seqlens_q[n] .. cu_seqlens_q[n+1] and the keys cu_seqlens_k[n] .. cu_seqlens_k[n+1]. Its
// queries are its last positions: query i stands at p = (keys - queries) + i. It sees key j if
//   j <= p (causal), and |p - j| < window (window > 0).
// A query that sees no key gets y = 0, lse = -infinity and no gradient. What cannot be seen cannot be felt: a NaN in a
// masked key or value reaches no output.
// dtypes: q, k, v, y and all gradients agree: f64, f32, bf16 or f16; lse is f32 (f64 for f64). Arithmetic is in f32
// (f64 for f64), rounded once at the end; a backend may also round the weights p and ds to a 16-bit type before it
// multiplies them with tensors of that type. Strides are arbitrary; outputs overlap no input. Threads: no atomics. The
// backward pass on the CPU goes over the scores once, five tile products: a task has a head's keys, or a run of them,
// and adds to dk, dv and to a dq of its own; where several share a head their dq are added in order. How a head is cut
// depends on the shapes alone, and so do the bits. CUDA goes over the scores twice, once for dq and once for dk and dv,
// seven tile products: no partial sums, and cu_seqlens stay unread by the host. It takes d up to 256, and no f64.
// Source: Dao et al., "FlashAttention", 2022; Dao, "FlashAttention-2", 2023; soft-capping: Gemma 2, 2024.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_H_

#include <cstdint>

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct AttentionParams {
  View cu_seqlens_q, cu_seqlens_k;  // i32 [sequences + 1], ascending from 0
  float scale = 1;
  bool causal = true;
  int64_t window = 0;  // 0: none
  float softcap = 0;   // 0: none
};

struct AttentionKernels {
  void (*attention)(View q, View k, View v, const AttentionParams& params, View y, View lse, LaunchContext) = nullptr;
  void (*attention_grad)(View dy, View q, View k, View v, View y, View lse, const AttentionParams& params, View dq,
                         View dk, View dv, LaunchContext) = nullptr;
};

extern const AttentionKernels kCpuAttention;
extern const AttentionKernels kCudaAttention;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_H_
