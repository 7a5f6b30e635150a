// Nf4Map: a layer's linear map whose weight stays in 4 bits. The base of QLoRA.
//
//   slot.map = std::make_unique<Nf4Map>(*QuantizeNf4(w));
//   Variable y = slot->Apply(x);      // y = x*W^T;   dx = dy*W.   Saves nothing: W is frozen, so x is not needed again
//
// W is decoded inside each product (quant/nf4_matmul.h), forward and backward, and never exists whole on the CPU.
// Dense(), f64 or f16 products and products on CUDA do make a copy, for as long as they are used. The map works where
// its weight lies: Nf4Tensor::To moves one. Checkpoint names are those of quant/bnb_checkpoint.h: "weight" counts as
// the weights, the rest as bookkeeping. Threads: const methods may run concurrently. Errors: wrong shapes and ids out
// of range abort.
#ifndef LORIKEET_QUANT_NF4_MAP_H_
#define LORIKEET_QUANT_NF4_MAP_H_

#include <cstdint>

#include "nn/linear_map.h"
#include "nn/module.h"
#include "quant/nf4.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

class Nf4Map : public LinearMap {
 public:
  explicit Nf4Map(Nf4Tensor w);  // [out, in]

  int64_t in_features() const override { return w_.shape[1]; }
  int64_t out_features() const override { return w_.shape[0]; }
  bool frozen() const override { return true; }
  DType dtype() const override { return w_.dtype; }
  Device device() const override { return w_.codes.device(); }
  void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const override;
  void InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const override;
  Tensor Rows(const Tensor& ids, DType dtype) const override;
  Tensor Dense() const override { return Dequantize(w_, w_.dtype); }
  // Shows the tensors of quant/bnb_checkpoint.h for reading: replacing one does not change the map.
  void Visit(Visitor& v) override;

  const Nf4Tensor& weight() const { return w_; }

 private:
  Nf4Tensor w_;
};

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_NF4_MAP_H_
