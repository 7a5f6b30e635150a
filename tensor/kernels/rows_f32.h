// Contiguous runs of f32 and bf16, in the widest instructions that the processor has (Highway, chosen at run time).
// Only for the CPU kernels of this package, most of which use rows.h.
#ifndef LORIKEET_TENSOR_KERNELS_ROWS_F32_H_
#define LORIKEET_TENSOR_KERNELS_ROWS_F32_H_

#include <cstdint>

#include "tensor/dtype.h"

namespace lorikeet::internal {

void WidenBF16(const bf16* x, int64_t n, float* out);
void NarrowBF16(const float* x, int64_t n, bf16* out);  // to nearest even; NaN stays NaN, quiet
bool AllFinite(const float* x, int64_t n);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ROWS_F32_H_
