// LoraMap: y = base(x) + s * B(A(dropout(x))), a low-rank correction around any frozen map.
//
//   LoraMap map(std::move(base), {.a = a, .b = b, .scaling = alpha / r}, &run, index);
//   Variable y = map.Apply(x);                          // x [tokens, in] -> y [tokens, out]
//
// With G = dy, u = s*x'*A^T and x' the dropped-out x:
//   dB = G^T*u,   dA = (s*G*B)^T*x',   dx = G*W + mask(s*G*B*A).     Saves x and u [tokens, r].
// One record and, with r more terms, one product: u*B^T is added to the base's sums before they are rounded, and so is
// s*G*B*A on the way back. No W + s*B*A is ever formed. Dropout keeps no mask: it
// is drawn again from its key. Over a 4-bit base this is QLoRA.
// Source: Hu et al., "LoRA: Low-rank adaptation of large language models", 2021; Dettmers et al., "QLoRA", 2023.
#ifndef LORIKEET_PEFT_LORA_MAP_H_
#define LORIKEET_PEFT_LORA_MAP_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "nn/linear_map.h"
#include "peft/adapter_map.h"
#include "peft/adapter_run.h"

namespace lorikeet {

class LoraMap : public AdapterMap {
 public:
  LoraMap(std::unique_ptr<LinearMap> base, LoraFactors factors, const AdapterRun* run, uint64_t index)
      : AdapterMap(std::move(base), std::move(factors), run, index) {}

  bool frozen() const override { return !a_.trainable && !b_.trainable; }
  void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const override;
  void InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const override;
  Variable Apply(const Variable& x) override;
  Tensor Merged() const override { return PlusProduct(base_->Dense()); }
  Tensor MergedOver(Tensor w) const override { return PlusProduct(LessTaken(std::move(w))); }
  void Visit(Visitor& v) override;
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_LORA_MAP_H_
