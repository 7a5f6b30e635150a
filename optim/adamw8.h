// AdamW's update over moments in 8 bits: a block is decoded, updated in float32 and encoded again. The contract of a
// backend.
//
//   kCpuAdamW8.step(segments, count, step, {});          // as kCpuAdamW.step, but m and v are blocks
//
// A moment of 256 elements is BlockElements(DType::kU8) bytes (optim/state_block.h): 256 codes and a float32 scale, by
// quant/blockwise8.h; m has the signed map, v the unsigned one. The parameter is updated with the new moments as they
// are before they are encoded, by the arithmetic of tensor/kernels/adamw.h. The last block of a segment may belong to
// fewer than 256 elements of the parameter; its other elements stay zero. An element whose gradients are all zero keeps
// exact zeros. g and p are f32 [n], m and v u8 [ceil(n / 256) * 260], all contiguous, the scales at multiples of 4
// bytes; no two segments overlap. The bits are the same from every backend and for any number of threads.
// Source: Dettmers et al., "8-bit Optimizers via Block-wise Quantization" (ICLR 2022).
#ifndef LORIKEET_OPTIM_ADAMW8_H_
#define LORIKEET_OPTIM_ADAMW8_H_

#include <cstdint>

#include "tensor/kernels/adamw.h"
#include "tensor/kernels/launch.h"

namespace lorikeet {

struct AdamW8Kernels {
  void (*step)(const AdamWSegment* segments, int64_t count, const AdamWStep& step, LaunchContext) = nullptr;
};

extern const AdamW8Kernels kCpuAdamW8;
extern const AdamW8Kernels kCudaAdamW8;

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_ADAMW8_H_
