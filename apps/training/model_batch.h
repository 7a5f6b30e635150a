// From a batch of token ids to a batch on the model's device.
//
//   ModelBatch b = ToModelBatch(stream.Get(0, 4), model.device());
//   Answers answers = FindAnswers(b.targets, 1.0 / b.num_targets, DType::kF32, model.device());
//   Variable loss = LinearCrossEntropy(model.Hidden(b.inputs, nullptr), model.head(), answers, {});
//
// Padded() makes shapes repeat, which captured graphs need (step_graphs.h): sequences of padding behind the others, of
// token 0 and without a target, and empty ones. Neither changes a loss or a gradient.
#ifndef LORIKEET_APPS_TRAINING_MODEL_BATCH_H_
#define LORIKEET_APPS_TRAINING_MODEL_BATCH_H_

#include <cstdint>
#include <utility>

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

// The number of tokens becomes a multiple of `tokens`, that of sequences one of `sequences`.
inline text::Batch Padded(text::Batch b, size_t tokens, size_t sequences) {
  const auto up = [](size_t n, size_t unit) { return (n + unit - 1) / unit * unit; };
  const size_t total = up(b.tokens.size(), tokens);
  for (int32_t position = 0; b.tokens.size() < total; ++position) {
    b.tokens.push_back(0);
    b.targets.push_back(-1);
    b.positions.push_back(position);
  }
  b.cu_seqlens.resize(up(b.cu_seqlens.size(), sequences) + 1, static_cast<int32_t>(total));
  return b;
}

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_MODEL_BATCH_H_
