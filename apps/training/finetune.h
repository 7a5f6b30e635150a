// Fine-tuning from options to adapter: what `bazel run //apps:finetune` does.
//
//   absl::Status s = FineTune(options, ranks);             // Ranks::Join's, or Ranks(): this process alone
//
//   1  claim the output directory             5  evaluate, then train: log, evaluate, save
//   2  open the model, packed or dense        6  write the adapter (or the whole model) and its card
//   3  read and tokenize the rows             7  say what came of it and how to try it
//   4  put adapters around the linear maps
//
// The output directory then holds adapter_model.safetensors, adapter_config.json, README.md, the tokenizer's files,
// metrics.jsonl, loss.svg, run.json and the checkpoints; --method=full writes a complete Hugging Face directory.
// Ranks take every step together, to the same weights; the first one alone prints and writes. They agree on stopping: a
// signal that one of them gets ends all after the same step. DeadlineExceeded: a rank is lost.
// Errors: as apps/program.h maps them to exit codes.
#ifndef LORIKEET_APPS_TRAINING_FINETUNE_H_
#define LORIKEET_APPS_TRAINING_FINETUNE_H_

#include "absl/status/status.h"
#include "apps/parallel/ranks.h"
#include "apps/training/options.h"

namespace lorikeet {

absl::Status FineTune(const TrainOptions& options, Ranks& ranks);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_FINETUNE_H_
