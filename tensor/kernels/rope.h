// Rotary position embedding: the contract of a backend.
//
//   rope_table  cos[t,i] = factor * cos(positions[t] * inv_freq[i]),  sin likewise.     cos, sin [tokens, n/2]
//               inv_freq may be [2, n/2]: its second row counts if any position is long_from or more, else its first.
//   rope        rotates each pair (a, b) of x by the angle of its token:
//                 y_a = a*cos - b*sin,  y_b = b*cos + a*sin                             x, y [tokens, heads, head_dim]
//               split-half: pair i is elements i and i + n/2; interleaved: 2i and 2i + 1. The elements of a head
//               from n on, if there are any, stay as they are.
//               inverse: by the negative angle, which is the gradient.
//
// dtypes: x and y agree: f64, f32, bf16 or f16; positions i32. inv_freq, cos and sin agree: f32, or f64 for gradient
// checks. Products are in f32 (f64 for f64), rounded once. An angle is one rounded product in inv_freq's dtype, as the
// models were trained with; its sine and cosine are exact to the last bit or so.
// Strides are arbitrary; y may be x.
// Source: Su et al., "RoFormer", 2021; the split-half layout is GPT-NeoX's and Llama's, the interleaved one GPT-J's.
#ifndef LORIKEET_TENSOR_KERNELS_ROPE_H_
#define LORIKEET_TENSOR_KERNELS_ROPE_H_

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct RopeKernels {
  void (*rope_table)(View positions, View inv_freq, double factor, int64_t long_from, View cos, View sin,
                     LaunchContext) = nullptr;
  void (*rope)(View x, View cos, View sin, bool interleaved, bool inverse, View y, LaunchContext) = nullptr;
};

extern const RopeKernels kCpuRope;
extern const RopeKernels kCudaRope;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_ROPE_H_
