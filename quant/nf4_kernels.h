// 4-bit weights: the contract of a backend.
//
//   decode         y[i] = round_to_dtype(w[i]), i < y.size()                       nf4_decode.h has the formula
//   decode_scales  scales[b] = scale(b) as float32
//   gather_rows    y[i] = w[ids[i]], rounded likewise, for a weight [rows, d]; an id outside [0, rows) ends the process
//   encode         codes and absolute maxima of the blocks of w: nf4.h has the rule. A block with an element that is
//                  not finite gets a scale that is not finite, and any codes
//   encode_scales  8-bit codes of absmax[b] - mean, by blockwise8.h with the signed map
//   matvec         y = alpha * gain * (x*W^T + u*v) + beta * y for a few rows of x (kDotRows) and a weight [rows,
//                  cols], cols a multiple of 8 and all of it less than 2^35 elements, straight from the codes: sums
//                  over code * x are kept in float32 and scaled block by block, so that a weight is not rounded to x's
//                  dtype. A row of x has kNf4MatVecRowBytes at most: it is kept in shared memory. On the CPU products
//                  decode panels instead (nf4_panels.h)
//
// Views are contiguous, but for those of an epilogue, and on the backend's device, as Nf4View's pointers are. Floats
// are f32, bf16 or f16 (decode and gather_rows on the CPU: f64 too); ids i32; codes of encode u8 [(n+1)/2], of
// encode_scales u8 [blocks]. Blocks and scale blocks are powers of two from 32 to 4096. Arithmetic rounds after each
// operation, so that codes, scales and decoded weights have the same bits from every backend.
#ifndef LORIKEET_QUANT_NF4_KERNELS_H_
#define LORIKEET_QUANT_NF4_KERNELS_H_

#include <cstdint>

#include "quant/nf4_decode.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul.h"
#include "tensor/view.h"

namespace lorikeet {

inline constexpr int64_t kNf4MatVecRowBytes = 56 << 10;

struct Nf4Kernels {
  void (*decode)(const Nf4View& w, View y, LaunchContext) = nullptr;
  void (*decode_scales)(const Nf4View& w, View scales, LaunchContext) = nullptr;
  void (*gather_rows)(const Nf4View& w, int64_t rows, View ids, View y, LaunchContext) = nullptr;
  void (*encode)(View w, Nf4Kind kind, int32_t block, View codes, View scales, LaunchContext) = nullptr;
  void (*encode_scales)(View absmax, float mean, int32_t scale_block, View codes, View scale_scales,
                        LaunchContext) = nullptr;
  void (*matvec)(const Nf4View& w, View x, View y, const MatMulEpilogue&, LaunchContext) = nullptr;
};

extern const Nf4Kernels kCpuNf4;
extern const Nf4Kernels kCudaNf4;

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_NF4_KERNELS_H_
