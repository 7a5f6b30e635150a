// Thin products: y = a*b whose reduction runs across the rows of both operands, one of which has few columns. Such are
// the gradients of an adapter's factors, dA = du^T*x and dB = dy^T*u, with the tokens as the reduction.
//
// A panel of the wide operand (x, dy) would be packed for 16 rows of work and thrown away. So it is read where it lies:
// two rows at a time are paired in registers, while the thin operand (du, u), small, is packed as pairs. Not where
// there is AMX: its tiles do those 16 rows so much faster that packing pays, as for any other product.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_THIN_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_THIN_H_

#include <cstdint>

#include "tensor/kernels/matmul_operand.h"
#include "tensor/view.h"

namespace lorikeet::internal {

inline constexpr int64_t kThinRows = 32;     // of the thin operand, at most
inline constexpr int64_t kThinColumns = 32;  // of a strip of the wide one

// Whether ThinProduct takes these operands.
bool IsThin(const Operand& a, const Operand& b);

// y = alpha * a*b + beta * y, with the bits of the other bf16 products.
void ThinProduct(const Operand& a, const Operand& b, const View& y, float alpha, float beta);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_THIN_H_
