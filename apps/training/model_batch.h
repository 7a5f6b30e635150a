// From a batch of token ids to a batch on the model's device.
//
//   ModelBatch b = ToModelBatch(stream.Get(0, 4), model.device());
//   Answers answers = FindAnswers(b.targets, 1.0 / b.num_targets, DType::kF32, model.device());
//   Variable loss = LinearCrossEntropy(model.Hidden(b.inputs, nullptr), model.head(), answers, {});
//
// Padded() makes shapes repeat, which captured graphs need (step_graphs.h): a sequence of padding behind the others, of
// token 0 and without a target, and empty ones. Neither changes a loss or a gradient. Its positions are all 0: were
// they counted, the longest of a batch could be one of padding, which longrope's frequencies and GPT-2's table depend
// on.
#ifndef LORIKEET_APPS_TRAINING_MODEL_BATCH_H_
#define LORIKEET_APPS_TRAINING_MODEL_BATCH_H_

#include <cstdint>
#include <utility>

#include "apps/text/batches.h"
#include "nn/batch.h"
#include "tensor/check.h"
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

// To `tokens` tokens in `sequences` sequences: no fewer than there are, and a sequence more.
inline text::Batch Padded(text::Batch b, int64_t tokens, int64_t sequences) {
  LORIKEET_CHECK(tokens >= static_cast<int64_t>(b.tokens.size()) &&
                 sequences >= static_cast<int64_t>(b.cu_seqlens.size()))
      << "Padded: " << b.tokens.size() << " tokens in " << b.cu_seqlens.size() - 1 << " sequences to " << tokens
      << " in " << sequences;
  while (static_cast<int64_t>(b.tokens.size()) < tokens) {
    b.tokens.push_back(0);
    b.targets.push_back(-1);
    b.positions.push_back(0);
  }
  b.cu_seqlens.resize(static_cast<size_t>(sequences) + 1, static_cast<int32_t>(tokens));
  return b;
}

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_MODEL_BATCH_H_
