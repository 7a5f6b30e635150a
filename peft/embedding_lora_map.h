// EmbeddingLoraMap: LoRA around a map that is read by rows: y = W[ids] + s * B[ids] * A.
//
//   EmbeddingLoraMap map(std::move(base), {.a = a, .b = b, .scaling = alpha / r}, &run, index);
//   Variable h = map.Lookup(tokens, DType::kBF16);       // tokens i32 [n] -> [n, hidden]
//
// W is [vocab, hidden], so as in LoraMap A is [r, hidden] and B [vocab, r]. PEFT stores the transposes under other
// names: lora_embedding_A [r, vocab] is B^T and starts at zero, lora_embedding_B [hidden, r] is A^T and starts normal.
// Ids do not drop out. Gradients: dA = s*B[ids]^T*dy, and the rows ids of dB gain s*dy*A^T. Source: PEFT's
// lora.Embedding.
#ifndef LORIKEET_PEFT_EMBEDDING_LORA_MAP_H_
#define LORIKEET_PEFT_EMBEDDING_LORA_MAP_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "autograd/variable.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "peft/adapter_map.h"
#include "peft/adapter_run.h"
#include "peft/lora_map.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

class EmbeddingLoraMap : public LoraMap {
 public:
  EmbeddingLoraMap(std::unique_ptr<LinearMap> base, LoraFactors factors, const AdapterRun* run, uint64_t index)
      : LoraMap(std::move(base), std::move(factors), run, index) {}

  Variable Lookup(const Tensor& ids, DType dtype) override;
  Tensor Rows(const Tensor& ids, DType dtype) const override;
  void Visit(Visitor& v) override;
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_EMBEDDING_LORA_MAP_H_
