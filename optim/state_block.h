// Blocks of optimizer state: what is kept together. Compiles under nvcc without Abseil.
//
//   BlockElements(DType::kF32) == 256;  BlockElements(DType::kU8) == 260;
#ifndef LORIKEET_OPTIM_STATE_BLOCK_H_
#define LORIKEET_OPTIM_STATE_BLOCK_H_

#include <cstdint>

#include "tensor/dtype.h"

namespace lorikeet {

// Numbers of a moment that are kept together: a block never belongs to two pages (nor, in the optimizers here, to two
// parameters).
inline constexpr int64_t kStateBlock = 256;

// Elements of a store that a block takes. u8 elements are the bytes of a block in 8 bits: its codes, then its float32
// scale (quant/blockwise8.h).
constexpr int64_t BlockElements(DType dtype) { return dtype == DType::kU8 ? kStateBlock + 4 : kStateBlock; }

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_STATE_BLOCK_H_
