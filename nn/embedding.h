// Embedding: rows of a linear map, picked by token id. A tied output head is the same map, used forwards.
//
//   Embedding embed(vocab_size, hidden_size);
//   Variable h = embed(tokens, DType::kBF16);         // tokens i32 [n] -> [n, hidden]
//   Variable logits = embed.map().Apply(h);           // the tied head: h * W^T
//
// Token ids outside [0, vocab) abort: whoever makes ids (a tokenizer, a file) checks them first.
#ifndef LORIKEET_NN_EMBEDDING_H_
#define LORIKEET_NN_EMBEDDING_H_

#include <cstdint>

#include "autograd/variable.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "tensor/tensor.h"

namespace lorikeet {

class Embedding : public Module {
 public:
  Embedding(int64_t vocab_size, int64_t hidden_size) : slot_{hidden_size, vocab_size, nullptr, /*embedding=*/true} {}

  Variable operator()(const Tensor& tokens, DType dtype) { return slot_->Lookup(tokens, dtype); }
  void Visit(Visitor& v) override { v.Slot("", slot_); }
  LinearMap& map() { return *slot_.map; }

 private:
  MapSlot slot_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_EMBEDDING_H_
