// LinearCrossEntropy: the language-model loss, without ever holding [tokens, vocab] logits.
//
//   loss = scale * sum_i cross_entropy(h_i * W_head^T, target_i)       over the rows with target_i >= 0
//
//   Variable loss = LinearCrossEntropy(h, model.head(), targets, {.scale = 1.0f / answer_tokens});
//   tape.Backward(loss, Tensor::Scalar(1, DType::kF32));
//
// h [tokens, hidden], targets i32 [tokens] (-1: no loss, the row is dropped before the product), loss f32 scalar.
// `scale` is one over *all* answer tokens of the optimizer step, so that micro-batches add up to the mean. Rows are
// taken `chunk` at a time; when recording, each chunk's gradient is computed at once, in the forward pass, and only dh
// (and the head's own gradient, where the head trains) is kept; Backward multiplies by its dy.
// Without a single target the loss is 0, and so is every gradient: dh is zeros, the head's parameters get nothing.
// Targets are on the CPU, where they are counted; everything else on h's device, and nothing here waits for it. So what
// a step reports is read when the step is done: RowLosses keeps it, CountLosses(rows) reads it. Backward's dy may be on
// the CPU (a constant 1), whatever the device. All that a pass needs of the host is in Answers, which can be made
// before it: a pass that is captured (tensor/cuda_graph.h) takes them.
// Targets at or above the vocabulary abort.
// Source of the idea: Wijmans et al., "Cut your losses in large-vocabulary language models", 2024.
#ifndef LORIKEET_NN_LINEAR_CROSS_ENTROPY_H_
#define LORIKEET_NN_LINEAR_CROSS_ENTROPY_H_

#include <cstdint>

#include "autograd/variable.h"
#include "nn/linear_map.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

// Which rows have a target, on h's device. Rows of padding are copies of row 0 with the target -1: their loss is 0.
struct Answers {
  Tensor rows;     // i32 [n]
  Tensor targets;  // i32 [n]
  Tensor place;    // i32 [tokens]: where a row is among those; n: it has no target
  Tensor scale;    // one number of the loss's dtype
};

// `loss` is the loss's dtype, LossDType of h's. n is padded to a multiple of `multiple`, for shapes that repeat.
Answers FindAnswers(const Tensor& targets, double scale, DType loss, Device device, int64_t multiple = 1);
// f32; f64 for f64.
DType LossDType(DType h);

struct LinearCrossEntropyOptions {
  float scale = 1;    // not where Answers are given, which have it
  float softcap = 0;  // > 0: logits become softcap * tanh(logits / softcap)
  int64_t chunk = 0;  // rows of logits that exist at a time; 0: LogitsChunk's
};

// 256 on the CPU. On a GPU an eighth of the rows, from 256 to 1024: each chunk reads the head's whole weight, in the
// time of which a GPU multiplies some 256 rows with it.
int64_t LogitsChunk(int64_t rows, Device device);

// Of the rows with a target, in order, on h's device.
struct RowLosses {
  Tensor losses;   // [n] f32 (f64 for f64), unscaled
  Tensor correct;  // [n] i32, 1 where the largest logit is the target
};

Variable LinearCrossEntropy(const Variable& h, LinearMap& head, const Tensor& targets,
                            const LinearCrossEntropyOptions& options, RowLosses* rows = nullptr);
Variable LinearCrossEntropy(const Variable& h, LinearMap& head, const Answers& answers,
                            const LinearCrossEntropyOptions& options, RowLosses* rows = nullptr);

struct LossCounts {
  double loss_sum = 0;
  int64_t tokens = 0;
  int64_t correct = 0;
};
// Adds rows up, rows of padding too; waits for the device.
LossCounts CountLosses(const RowLosses& rows);

}  // namespace lorikeet

#endif  // LORIKEET_NN_LINEAR_CROSS_ENTROPY_H_
