// From a batch of token ids to a batch on the model's device.
//
//   ModelBatch b = ToModelBatch(stream.Get(0, 4));
//   Variable h = model.Hidden(b.inputs, nullptr);
//   Variable loss = LinearCrossEntropy(h, model.head(), b.targets, {.scale = 1.0f / b.num_targets});
#ifndef LORIKEET_APPS_TRAINING_MODEL_BATCH_H_
#define LORIKEET_APPS_TRAINING_MODEL_BATCH_H_

#include <cstdint>

#include "apps/text/batches.h"
#include "nn/batch.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct ModelBatch {
  Batch inputs;
  Tensor targets;  // i32 [total], -1 where there is no loss
  int64_t num_targets = 0;
};

inline ModelBatch ToModelBatch(const text::Batch& b) {
  const int64_t total = static_cast<int64_t>(b.tokens.size());
  ModelBatch out;
  out.inputs.tokens = Tensor::From<int32_t>(b.tokens, {total});
  out.inputs.positions = Tensor::From<int32_t>(b.positions, {total});
  out.inputs.cu_seqlens = Tensor::From<int32_t>(b.cu_seqlens, {static_cast<int64_t>(b.cu_seqlens.size())});
  out.targets = Tensor::From<int32_t>(b.targets, {total});
  out.num_targets = b.num_targets();
  return out;
}

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_MODEL_BATCH_H_
