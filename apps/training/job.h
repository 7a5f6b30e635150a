// TrainJob: everything a run needs, put together from its options, in the order in which a mistake is cheapest: rows
// are read before weights.
//
//   absl::StatusOr<std::unique_ptr<TrainJob>> job = TrainJob::Create(options);
//   absl::StatusOr<StepResult> r = (*job)->trainer->Step(0);
//
// Where ranks share the work (apps/parallel/ranks.h), a step is still what --batch_size and
// --gradient_accumulation_steps say: its micro-batches are dealt out, or, if they are too few, each is divided first.
// The parts refer to one another, so a job stays where it was made. No file is written.
#ifndef LORIKEET_APPS_TRAINING_JOB_H_
#define LORIKEET_APPS_TRAINING_JOB_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apps/model/open_model.h"
#include "apps/parallel/nccl_sum.h"
#include "apps/parallel/ranks.h"
#include "apps/text/batches.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/training/options.h"
#include "apps/training/sha256.h"
#include "apps/training/trainer.h"
#include "autograd/parameter.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"

namespace lorikeet {

struct TrainJob {
  // `ranks`, if any, outlives the job. InvalidArgument: among others, a step cannot be divided among so many.
  static absl::StatusOr<std::unique_ptr<TrainJob>> Create(const TrainOptions& options, Ranks* ranks = nullptr);

  TrainOptions options;
  Ranks* ranks = nullptr;               // null: one process
  int64_t rows = 0, micro_batches = 0;  // of a micro-batch, of a step, once ranks share them
  Device device;
  std::string device_name;  // a GPU's, or why there is none; empty: the CPU was asked for
  DType compute_dtype = DType::kF32;
  OpenedModel model;
  std::unique_ptr<text::ChatTemplate> chat;
  text::Dataset train, eval;
  std::map<std::string, std::map<std::string, FileDigest>> inputs;  // "model", "data", "eval_data": files and digests
  AdapterRun run;
  AdapterConfig adapter;               // not for --method=full
  std::vector<std::string> adapted;    // paths that carry an adapter
  std::vector<Parameter*> parameters;  // that train
  std::unique_ptr<text::SequenceStream> stream;
  int64_t max_steps = 0;
  std::unique_ptr<Schedule> schedule;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<NcclSum> nccl;  // null: gradients of several ranks are added up on the host
  std::unique_ptr<Trainer> trainer;

  // What a resumed run must share, in words: the bytes of model and data, and every flag that the weights depend on.
  // Where files lie, and what is only reported, may differ.
  std::string fingerprint;
  // The first digits of a digest over --eval_data's bytes, or "none".
  std::string EvalDigest() const;

 private:
  absl::Status DivideSteps();
  absl::Status OpenModelAndData();
  absl::Status DigestInputs();
  absl::Status AddAdapters();
  absl::Status MakeOptimizer();
  std::string Fingerprint() const;
};

// The adapters that the options ask for. A value of --target_modules or --exclude_modules with a character that no name
// has is a regular expression, any other a list of names separated by commas.
absl::StatusOr<AdapterConfig> AdapterConfigFor(const TrainOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_JOB_H_
