// One operand of a product as its panels see it: n rows of k elements, k being the reduction. Both a*b's a (n = M) and
// b (n = N) take this form, whatever their strides, and so does a weight that is decoded while it is packed.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_OPERAND_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_OPERAND_H_

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/matmul.h"

namespace lorikeet::internal {

// What panels hold: f64, f32, or pairs of bf16.
struct Format {
  DType dtype = DType::kF32;
  int64_t element = 4;  // bytes
  int64_t pair = 1;     // elements of k in a step
  int64_t k_block = 2048;

  int64_t cell() const { return element * pair; }
  int64_t Steps(int64_t k) const { return (k + pair - 1) / pair; }
};

struct Operand {
  const char* data = nullptr;
  DType dtype = DType::kF32;
  int64_t n = 0, k = 0;
  int64_t stride_n = 0, stride_k = 0;   // elements
  const PanelSource* source = nullptr;  // instead of data
  bool transposed = false;              // of a source: n counts the rows of W (else its columns)

  const char* at(int64_t i, int64_t j) const {
    return data + (i * stride_n + j * stride_k) * static_cast<int64_t>(SizeOf(dtype));
  }
};

constexpr int64_t PanelWidth(int64_t n) { return (n + 15) / 16 * 16; }

// Writes rows [n0, n0 + n) (at most 64) of k in [k0, k0 + k) as one panel [Steps(k)][PanelWidth(n)]; what lies past n,
// and past an odd k of pairs, becomes zero. k0 is a multiple of 64, n0 too if the operand is a source.
void PackPanel(const Operand& x, const Format& format, int64_t n0, int64_t n, int64_t k0, int64_t k, void* dst);

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_OPERAND_H_
