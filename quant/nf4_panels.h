// A 4-bit weight as the panels of a matrix product: decoded while the product packs it, so that no decoded copy ever
// exists. quant/nf4_matmul.h is the interface over it.
//
//   const Nf4Panels panels(w);
//   tensor::MatMulPanels(y, x, panels.source(), /*transpose_w=*/true);      // y = x*W^T
//
// With AVX-512 (VBMI, BF16) and rows of a multiple of 32 weights, bf16 panels come from nf4_avx512.h; with rows and
// blocks of a multiple of 64 so do the dot products of up to kDotRows rows. The rest is decoded row by row, with the
// same bits. Blocks may straddle rows. Threads: const, any.
#ifndef LORIKEET_QUANT_NF4_PANELS_H_
#define LORIKEET_QUANT_NF4_PANELS_H_

#include "quant/nf4.h"
#include "quant/nf4_decode.h"
#include "tensor/kernels/matmul.h"

namespace lorikeet {

// Refers to w's memory, and to itself: neither may go away or move while a product runs.
class Nf4Panels {
 public:
  enum class Decoder { kBest, kPlain };  // kPlain: without AVX-512, whatever the processor has

  // w is [out, in]; another rank aborts.
  explicit Nf4Panels(const Nf4Tensor& w, Decoder decoder = Decoder::kBest);
  Nf4Panels(const Nf4Panels&) = delete;
  Nf4Panels& operator=(const Nf4Panels&) = delete;

  const PanelSource& source() const { return source_; }
  const Nf4View& view() const { return view_; }

 private:
  Nf4View view_;
  PanelSource source_;
};

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_NF4_PANELS_H_
