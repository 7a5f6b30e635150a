// From a batch of token ids to a batch on the model's device.
//
//   ModelBatch b = ToModelBatch(stream.Get(0, 4), model.device());
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
  Tensor targets;  // i32 [total], -1 where there is no loss; on the CPU
  int64_t num_targets = 0;
};

inline ModelBatch ToModelBatch(const text::Batch& b, Device device) {
  const int64_t total = static_cast<int64_t>(b.tokens.size());
  ModelBatch out;
  out.inputs = BatchOf(b.tokens, b.positions, b.cu_seqlens, device);
  out.targets = Tensor::From<int32_t>(b.targets, {total});
  out.num_targets = b.num_targets();
  return out;
}

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_MODEL_BATCH_H_
