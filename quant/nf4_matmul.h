// Products with 4-bit weights.
//
//   Tensor y  = MatMulNf4(x, w, /*transpose_w=*/true);      // y = x*W^T    x [M,in],   w [out,in]
//   Tensor dx = MatMulNf4(dy, w, /*transpose_w=*/false);    // dx = dy*W    dy [M,out]
//   MatMulNf4Into(y, x, w, true, {.beta = 1});              // y += x*W^T, in place
//
// The weight is used as round_to_dtype(code * scale) in x's dtype: the bits of Dequantize. On the CPU, with more than
// kDotRows rows of x and columns of y the product's bits, too, are those of MatMul over Dequantize. Up to kDotRows rows
// (generation) may be dot products straight from the codes, summed in another order. On the CPU and for bf16 and f32 x
// the weight is decoded inside the product (quant/nf4_panels.h); any other float makes a dense copy of W for the time
// of the product. So does CUDA: reading the codes and writing the copy costs little beside a product of many rows. Up
// to kDotRows rows are products with the codes there (quant/nf4_kernels.h), for which a weight is not rounded to x's
// dtype. Errors: shapes that do not match abort. Threads: as tensor/ops/matmul.h; bits do not depend on how many work.
#ifndef LORIKEET_QUANT_NF4_MATMUL_H_
#define LORIKEET_QUANT_NF4_MATMUL_H_

#include "quant/nf4.h"
#include "tensor/ops/matmul.h"
#include "tensor/tensor.h"

namespace lorikeet {

// The result has x's dtype.
Tensor MatMulNf4(const Tensor& x, const Nf4Tensor& w, bool transpose_w);

// y = alpha * gain * (x*W^T + u*v) + beta * y, or with W untransposed; y may be any float. beta = 0 overwrites.
void MatMulNf4Into(Tensor& y, const Tensor& x, const Nf4Tensor& w, bool transpose_w, const tensor::Epilogue& e);

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_NF4_MATMUL_H_
