#include "apps/training/finetune.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "apps/model/save_model.h"
#include "apps/training/checkpoint.h"
#include "apps/training/evaluate.h"
#include "apps/training/flags.h"
#include "apps/training/job.h"
#include "apps/training/model_card.h"
#include "apps/training/output_dir.h"
#include "apps/training/run_info.h"
#include "apps/training/run_report.h"
#include "apps/training/signals.h"
#include "apps/training/train_state.h"
#include "optim/xxh64.h"
#include "peft/adapter_file.h"
#include "peft/merge.h"
#include "tensor/device.h"
#include "tensor/io/atomic_file.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

constexpr int64_t kEvalTokens = 2048;  // of a batch when evaluating

std::string FileName(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

class Run {
 public:
  Run(const TrainOptions& options, Ranks& ranks) : options_(options), ranks_(ranks) {}
  absl::Status Execute();

 private:
  absl::Status DryRun();
  absl::Status Prepare();
  absl::Status TrainAndExport();
  absl::Status ClaimOutput();
  uint64_t BytesToWrite() const;
  absl::Status Resume();
  absl::Status AgreeOnStart();
  absl::Status AgreeOnStopping();
  absl::Status AgreeOnWeights(int64_t step);
  absl::Status FinishSteps(int64_t ahead);
  absl::Status Train();
  absl::Status EvaluateAndMark(int64_t step);
  absl::Status Save(int64_t step);
  absl::Status Export();
  absl::Status WriteCard();
  absl::Status WriteRunInfo(const std::string& status);
  bool First() const { return ranks_.rank() == 0; }
  std::string Out(absl::string_view name) const { return absl::StrCat(options_.output_dir, "/", name); }

  const TrainOptions& options_;
  Ranks& ranks_;
  std::unique_ptr<OutputDirLock> lock_;
  std::unique_ptr<TrainJob> job_;
  std::unique_ptr<RunReport> report_;  // the first rank's
  TrainProgress progress_;
  EvalResult after_;
  std::string resumed_from_;
  int64_t saved_step_ = -1;
  bool best_ = false;  // the evaluation after the last step was the best so far
  RunInfo info_;
};

// At most: checkpoints (the best, and the one being written, beside those kept), the result, and optimizer pages.
uint64_t Run::BytesToWrite() const {
  uint64_t trained = 0;
  for (const Parameter* p : job_->parameters) trained += static_cast<uint64_t>(p->value.nbytes());
  const int64_t saves = options_.save_steps > 0 ? job_->max_steps / options_.save_steps + 1 : 1;
  const uint64_t kept = static_cast<uint64_t>(std::min(saves, options_.save_total_limit + 2));
  return trained * (3 * kept + 1 + (PagedState(options_) ? 2 : 0)) + (uint64_t{16} << 20);
}

// A mistake about the output shows before anything expensive is loaded.
absl::Status Run::ClaimOutput() {
  if (absl::Status s = PrepareOutputDir(options_.output_dir); !s.ok()) return s;
  absl::StatusOr<OutputDirLock> lock = OutputDirLock::Acquire(options_.output_dir);
  if (!lock.ok()) return lock.status();
  lock_ = std::make_unique<OutputDirLock>(*std::move(lock));
  if (absl::Status s = CleanLeftovers(*lock_); !s.ok()) return s;
  if (options_.resume_from_checkpoint.empty() && HasCheckpoints(options_.output_dir)) {
    return absl::InvalidArgumentError(absl::StrCat(options_.output_dir,
                                                   " has checkpoints of an earlier run: go on with "
                                                   "--resume_from_checkpoint=latest, or give another --output_dir"));
  }
  return absl::OkStatus();
}

absl::Status Run::Resume() {
  progress_.fingerprint = job_->fingerprint;
  if (options_.resume_from_checkpoint.empty()) return absl::OkStatus();
  absl::StatusOr<FoundCheckpoint> found = FindCheckpoint(options_.output_dir, options_.resume_from_checkpoint);
  if (!found.ok()) return found.status();
  for (const std::string& w : found->warnings) {
    if (First()) std::fprintf(stderr, "warning: %s\n", w.c_str());
  }
  absl::StatusOr<TrainProgress> loaded =
      LoadTrainState(found->path, job_->parameters, *job_->optimizer, job_->fingerprint);
  if (!loaded.ok()) return loaded.status();
  progress_ = *std::move(loaded);
  resumed_from_ = found->path;
  saved_step_ = progress_.step;
  if (!First()) return absl::OkStatus();
  std::printf("resumed from %s: %lld of %lld steps are done\n", found->path.c_str(),
              static_cast<long long>(progress_.step), static_cast<long long>(job_->max_steps));
  return absl::OkStatus();
}

// Files may differ between two machines, and flags in what mpirun was told.
absl::Status Run::AgreeOnStart() {
  return ranks_.ExpectSame("what is trained",
                           absl::StrCat(job_->fingerprint, ", after step ", progress_.step, ", ",
                                        job_->eval.examples.size(), " rows held out, eval_data ", job_->EvalDigest(),
                                        ", eval_steps ", options_.eval_steps, ", save_steps ", options_.save_steps));
}

// A signal that one rank got is a signal to all.
absl::Status Run::AgreeOnStopping() {
  const absl::Status own = StopStatus();
  if (ranks_.size() == 1) return own;
  double stopped[] = {absl::IsCancelled(own) ? 1.0 : 0.0, absl::IsAborted(own) ? 1.0 : 0.0};
  if (absl::Status s = ranks_.Sum(absl::MakeSpan(stopped)); !s.ok()) return s;
  if (stopped[0] > 0) return absl::CancelledError("stopped by SIGINT");
  return stopped[1] > 0 ? absl::AbortedError("stopped by SIGTERM") : absl::OkStatus();
}

// The same gradients and the same arithmetic everywhere; but processors of two kinds may round differently.
absl::Status Run::AgreeOnWeights(int64_t step) {
  if (ranks_.size() == 1) return absl::OkStatus();
  uint64_t digest = 0;
  for (const Parameter* p : job_->parameters) {
    const Tensor value = p->value.To(kCpu).Contiguous();
    digest = Xxh64({static_cast<const char*>(value.raw()), static_cast<size_t>(value.nbytes())}, digest);
  }
  return ranks_.ExpectSame(absl::StrCat("the digest of the trained weights after step ", step),
                           absl::StrCat(absl::Hex(digest)));
}

absl::Status Run::Save(int64_t step) {
  progress_.step = step;
  if (absl::Status s = AgreeOnWeights(step); !s.ok()) return s;
  saved_step_ = step;
  if (!First()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<CheckpointWriter>> writer = CheckpointWriter::Create(options_.output_dir, step);
  if (!writer.ok()) return writer.status();
  if (absl::Status s = SaveTrainState([&](absl::string_view name) { return (*writer)->Path(name); }, job_->parameters,
                                      *job_->optimizer, progress_);
      !s.ok())
    return s;
  return (*writer)->Commit({.save_total_limit = options_.save_total_limit, .best = best_});
}

absl::Status Run::EvaluateAndMark(int64_t step) {
  const absl::StatusOr<EvalResult> result = EvaluateLoss(*job_->model.lm, job_->eval.examples, kEvalTokens, ranks_);
  if (!result.ok()) return result.status();
  after_ = *result;
  if (First()) report_->Evaluated(step, after_);
  best_ = after_.loss() < progress_.best_eval_loss;
  if (best_) progress_.best_eval_loss = after_.loss();
  return absl::OkStatus();
}

// Until no more than `ahead` steps are with the device.
absl::Status Run::FinishSteps(int64_t ahead) {
  while (job_->trainer->in_flight() > ahead) {
    absl::StatusOr<StepResult> result = job_->trainer->Finish();
    if (!result.ok()) return result.status();
    if (First()) report_->Stepped(*result);
  }
  return absl::OkStatus();
}

absl::Status Run::Train() {
  Trainer& trainer = *job_->trainer;
  for (int64_t step = progress_.step; step < job_->max_steps; ++step) {
    const absl::Status submitted = trainer.Submit(step);
    const int64_t done = step + 1;
    const auto every = [done](int64_t steps) { return steps > 0 && done % steps == 0; };
    const bool last = done == job_->max_steps;
    const bool evaluate = every(options_.eval_steps) && !last && !job_->eval.examples.empty();
    const bool save = every(options_.save_steps) && !last;
    absl::Status stop = submitted.ok() ? AgreeOnStopping() : absl::OkStatus();
    const bool all = !submitted.ok() || last || evaluate || save || !stop.ok();
    if (absl::Status s = FinishSteps(all ? 0 : trainer.ahead()); !s.ok()) return s;
    if (!submitted.ok()) return submitted;
    best_ = false;
    if (evaluate) {
      if (absl::Status s = EvaluateAndMark(done); !s.ok()) return s;
      if (stop.ok()) stop = AgreeOnStopping();
    }
    if ((save || best_ || !stop.ok()) && !last) {
      if (absl::Status s = Save(done); !s.ok()) return s;
    }
    if (!stop.ok()) return stop;
  }
  return absl::OkStatus();
}

// The adapter in PEFT's files, or the whole model, and the tokenizer.
absl::Status Run::Export() {
  if (options_.method == Method::kFull) {
    const MergedSource weights(*job_->model.lm, DType::kF32);
    return SaveModel(options_.output_dir, job_->model.lm->config(), job_->model.files->tokenizer_files(), weights,
                     {.dtype = DType::kF32});
  }
  if (absl::Status s = SaveAdapter(options_.output_dir, *job_->model.lm, job_->adapter); !s.ok()) return s;
  const text::TokenizerFiles& t = job_->model.files->tokenizer_files();
  for (const auto& [name, content] : {std::make_pair("tokenizer.json", &t.tokenizer_json),
                                      std::make_pair("tokenizer_config.json", &t.tokenizer_config_json),
                                      std::make_pair("special_tokens_map.json", &t.special_tokens_map_json),
                                      std::make_pair("chat_template.jinja", &t.chat_template_jinja)}) {
    if (content->empty()) continue;
    if (absl::Status s = WriteFileAtomically(Out(name), *content); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Run::WriteCard() {
  ModelCardInputs card;
  card.name = absl::StrCat(FileName(job_->model.path), "-", FileName(options_.output_dir));
  card.base_model = job_->model.path;
  card.output_dir = options_.output_dir;
  card.method = Name(options_.method);
  card.generate_command = GenerateCommand(options_, job_->model.path);
  if (Quantized(options_.method)) {
    card.quant_type = Name(options_.quant.kind);
    card.double_quant = options_.quant.double_quant;
  }
  card.data = FileName(options_.data);
  card.train_rows = static_cast<int64_t>(job_->train.examples.size());
  card.eval_rows = static_cast<int64_t>(job_->eval.examples.size());
  card.trainable_parameters = report_->trainable();
  card.total_parameters = report_->total();
  card.hyper_parameters = {{"learning rate", absl::StrCat(options_.learning_rate, ", ", options_.lr_scheduler_type)},
                           {"rows in a step", absl::StrCat(options_.batch_size * options_.gradient_accumulation_steps)},
                           {"sequence length", absl::StrCat(options_.max_seq_length)},
                           {"compute dtype", Name(job_->compute_dtype)},
                           {"seed", absl::StrCat(options_.seed)}};
  if (options_.method != Method::kFull) {
    card.hyper_parameters.emplace_back(
        "rank, alpha, dropout", absl::StrCat(options_.lora_r, ", ", options_.lora_alpha, ", ", options_.lora_dropout));
  }
  card.steps = job_->max_steps;
  card.eval_loss_before = progress_.first_eval_loss;
  card.eval_loss_after = after_.loss();
  return WriteFileAtomically(Out("README.md"), ModelCard(card));
}

// At the start with status "running", at the end with what came of it.
absl::Status Run::WriteRunInfo(const std::string& status) {
  if (!First()) return absl::OkStatus();
  info_.status = status;
  if (status == "running") {
    info_.program = "finetune";
    info_.flags = FlagValues();
    info_.machine = ThisMachine();
    info_.threads = NumThreads();
    info_.ranks = ranks_.size();
    info_.started = UtcTime(std::time(nullptr));
    info_.resumed_from = resumed_from_;
    info_.inputs = job_->inputs;
  } else {
    info_.ended = UtcTime(std::time(nullptr));
  }
  return WriteFileAtomically(Out("run.json"), ToJson(info_));
}

absl::Status Run::DryRun() {
  ranks_.set_patience(options_.rank_timeout);
  absl::StatusOr<std::unique_ptr<TrainJob>> job = TrainJob::Create(options_, &ranks_);
  if (!job.ok()) return job.status();
  if (!First()) return absl::OkStatus();
  RunReport report(**job, "");
  report.PrintPlan();
  report.PrintRows(3);
  return absl::OkStatus();
}

absl::Status Run::Execute() {
  if (options_.dry_run) return DryRun();
  if (absl::Status s = Prepare(); !s.ok()) return s;
  if (absl::Status s = WriteRunInfo("running"); !s.ok()) return s;
  absl::Status status = TrainAndExport();
  const bool stopped = absl::IsCancelled(status) || absl::IsAborted(status);
  absl::Status written = WriteRunInfo(status.ok() ? "done" : stopped ? "stopped" : "failed");
  if (!status.ok()) return status;
  if (!written.ok()) return written;
  return !First() ? absl::OkStatus() : report_->Close(progress_.first_eval_loss, after_);
}

absl::Status Run::Prepare() {
  ranks_.set_patience(options_.rank_timeout);
  if (First()) {
    if (absl::Status s = ClaimOutput(); !s.ok()) return s;
  }
  // The others go on when the directory is there.
  if (absl::Status s = ranks_.ExpectSame("--output_dir", options_.output_dir); !s.ok()) return s;
  InstallStopSignals();
  absl::StatusOr<std::unique_ptr<TrainJob>> job = TrainJob::Create(options_, &ranks_);
  if (!job.ok()) return job.status();
  job_ = *std::move(job);
  if (absl::Status s = Resume(); !s.ok()) return s;
  if (absl::Status s = AgreeOnStart(); !s.ok()) return s;
  if (!First()) return absl::OkStatus();
  if (absl::Status s = CheckFreeSpace(options_.output_dir, BytesToWrite()); !s.ok()) return s;
  report_ = std::make_unique<RunReport>(*job_, options_.output_dir);
  report_->PrintPlan();
  return report_->Open(progress_.step);
}

absl::Status Run::TrainAndExport() {
  if (resumed_from_.empty() && !job_->eval.examples.empty()) {
    const absl::StatusOr<EvalResult> before = EvaluateLoss(*job_->model.lm, job_->eval.examples, kEvalTokens, ranks_);
    if (!before.ok()) return before.status();
    if (First()) report_->Evaluated(0, *before);
    progress_.first_eval_loss = before->loss();
  }
  if (absl::Status s = Train(); !s.ok()) return s;
  if (absl::Status s = EvaluateAndMark(job_->max_steps); !s.ok()) return s;
  if (saved_step_ != job_->max_steps) {
    if (absl::Status s = Save(job_->max_steps); !s.ok()) return s;
  }
  if (!First()) return absl::OkStatus();
  if (absl::Status s = Export(); !s.ok()) return s;
  return WriteCard();
}

}  // namespace

absl::Status FineTune(const TrainOptions& options, Ranks& ranks) { return Run(options, ranks).Execute(); }

}  // namespace lorikeet
