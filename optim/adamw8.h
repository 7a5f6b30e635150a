// AdamW's update over moments in 8 bits: a block is decoded, updated in float32 and encoded again.
//
//   AdamW8Step(segments, step);          // as kCpuAdamW.step, but m and v are blocks
//
// A moment of 256 elements is BlockElements(DType::kU8) bytes (optim/state_store.h): 256 codes and a float32 scale, by
// quant/blockwise8.h; m has the signed map, v the unsigned one. The parameter is updated with the new moments as they
// are before they are encoded, by the arithmetic of tensor/kernels/adamw.h. The last block of a segment may belong to
// fewer than 256 elements of the parameter; its other elements stay zero. An element whose gradients are all zero keeps
// exact zeros. Threads: runs on the pool of tensor/kernels/parallel.h; the bits do not depend on the number of threads.
// Source: Dettmers et al., "8-bit Optimizers via Block-wise Quantization" (ICLR 2022).
#ifndef LORIKEET_OPTIM_ADAMW8_H_
#define LORIKEET_OPTIM_ADAMW8_H_

#include "absl/types/span.h"
#include "tensor/kernels/adamw.h"

namespace lorikeet {

// g and p are f32 [n], m and v u8 [ceil(n / 256) * 260], all contiguous; no two segments overlap.
void AdamW8Step(absl::Span<const AdamWSegment> segments, const AdamWStep& step);

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_ADAMW8_H_
