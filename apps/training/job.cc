#include "apps/training/job.h"

#include <cmath>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "optim/paged_store.h"
#include "optim/resident_store.h"
#include "optim/state_store.h"
#include "peft/inject.h"
#include "tensor/kernels/parallel.h"
#include "tensor/random.h"

namespace lorikeet {
namespace {

// Streams of randomness, so that no two uses share bits.
enum RandomStream : uint64_t { kAdapterStart, kDropout };

WeightUse UseFor(Method method) {
  if (method == Method::kFull) return WeightUse::kTrainable;
  return Quantized(method) ? WeightUse::kQuantized : WeightUse::kFrozen;
}

text::DatasetOptions RowOptions(const TrainOptions& o) {
  text::DatasetOptions rows;
  rows.max_seq_length = o.max_seq_length;
  rows.train_on_prompt = o.train_on_prompt;
  return rows;
}

}  // namespace

void ParseTargetModules(const std::string& flag, AdapterConfig* config) {
  config->all_linear = flag == "all-linear";
  if (config->all_linear) return;
  if (flag.find_first_of("*+?()[]{}|^$\\") != std::string::npos) {
    config->target.regex = flag;
  } else {
    config->target.list = absl::StrSplit(flag, ',', absl::SkipEmpty());
  }
}

absl::StatusOr<std::unique_ptr<TrainJob>> TrainJob::Create(const TrainOptions& options) {
  auto job = std::make_unique<TrainJob>();
  job->options = options;
  SetNumThreads(options.threads);
  if (options.device == "cuda") {
    return absl::InvalidArgumentError("--device=cuda: this build trains on the CPU; give --device=cpu or auto");
  }
  if (absl::Status s = job->OpenModelAndData(); !s.ok()) return s;
  if (absl::Status s = job->AddAdapters(); !s.ok()) return s;
  if (absl::Status s = job->MakeOptimizer(); !s.ok()) return s;
  return job;
}

absl::Status TrainJob::OpenModelAndData() {
  absl::StatusOr<DType> dtype = ParseComputeDtype(options.compute_dtype);
  if (!dtype.ok()) return dtype.status();
  compute_dtype = *dtype;
  absl::StatusOr<OpenedModel> opened =
      OpenModel(options.model, {.compute_dtype = compute_dtype, .use = UseFor(options.method), .quant = options.quant});
  if (!opened.ok()) return opened.status();
  model = *std::move(opened);
  const int64_t longest = model.lm->config().max_position_embeddings;
  if (options.max_seq_length > longest) {
    return absl::InvalidArgumentError(absl::StrCat("--max_seq_length=", options.max_seq_length,
                                                   ": the model was made for at most ", longest, " tokens"));
  }
  model.lm->set_gradient_checkpointing(options.gradient_checkpointing == "on");
  absl::StatusOr<text::ChatTemplate> made =
      text::ChatTemplate::ForTokenizer(model.tokenizer->spec(), options.chat_template);
  if (!made.ok()) return made.status();
  chat = std::make_unique<text::ChatTemplate>(*std::move(made));
  absl::StatusOr<text::Dataset> data = text::LoadDataset(options.data, *model.tokenizer, *chat, RowOptions(options));
  if (!data.ok()) return data.status();
  train = *std::move(data);
  if (!options.eval_data.empty()) {
    absl::StatusOr<text::Dataset> held_out =
        text::LoadDataset(options.eval_data, *model.tokenizer, *chat, RowOptions(options));
    if (!held_out.ok()) return held_out.status();
    eval = *std::move(held_out);
  } else {
    std::tie(train, eval) = text::SplitDataset(std::move(train), options.eval_fraction, options.seed);
  }
  if (train.examples.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(options.data, ": no row is left to train on (", train.stats.dropped,
                                                   " were cut before their answer; raise --max_seq_length)"));
  }
  return absl::OkStatus();
}

absl::Status TrainJob::AddAdapters() {
  if (options.method != Method::kFull) {
    adapter.r = options.lora_r;
    adapter.lora_alpha = options.lora_alpha;
    adapter.lora_dropout = options.lora_dropout;
    adapter.use_rslora = options.use_rslora;
    adapter.use_dora = UsesDora(options.method);
    // Absolute, so that the adapter finds its base from anywhere on this machine.
    std::error_code ignored;
    adapter.base_model_name_or_path = std::filesystem::absolute(model.path, ignored).string();
    ParseTargetModules(options.target_modules, &adapter);
    absl::StatusOr<InjectReport> report =
        Inject(*model.lm, adapter, RngKey{.seed = options.seed}.Fold(kAdapterStart), &run);
    if (!report.ok()) return report.status();
    adapted = report->modules;
  }
  parameters = TrainableParameters(*model.lm);
  return absl::OkStatus();
}

absl::Status TrainJob::MakeOptimizer() {
  stream = std::make_unique<text::SequenceStream>(
      &train.examples,
      text::StreamOptions{.max_seq_length = options.max_seq_length, .packing = options.packing, .seed = options.seed});
  const int64_t per_step = options.batch_size * options.gradient_accumulation_steps;
  max_steps =
      options.max_steps > 0
          ? options.max_steps
          : static_cast<int64_t>(std::ceil(options.num_epochs * static_cast<double>(stream->sequences_per_epoch()) /
                                           static_cast<double>(per_step)));
  absl::StatusOr<ScheduleType> type = ParseScheduleType(options.lr_scheduler_type);
  if (!type.ok()) return type.status();
  schedule =
      std::make_unique<Schedule>(*type, options.learning_rate, WarmupSteps(options.warmup_ratio, max_steps), max_steps);
  std::unique_ptr<StateStore> store;
  const int64_t elements = StateElements(parameters);
  if (options.optim == "paged_adamw") {
    absl::StatusOr<std::unique_ptr<PagedStore>> paged = PagedStore::Create(
        elements, DType::kF32,
        {.budget_bytes = options.optimizer_memory, .directory = options.output_dir, .page_elements = 0});
    if (!paged.ok()) return paged.status();
    store = *std::move(paged);
  } else {
    store = std::make_unique<ResidentStore>(elements);
  }
  optimizer = std::make_unique<AdamW>(parameters, AdamWOptions{.weight_decay = options.weight_decay}, std::move(store));
  trainer = std::make_unique<Trainer>(*model.lm, parameters, *optimizer, *schedule, &run, *stream,
                                      TrainerOptions{.batch_size = options.batch_size,
                                                     .gradient_accumulation_steps = options.gradient_accumulation_steps,
                                                     .max_grad_norm = options.max_grad_norm,
                                                     .key = RngKey{.seed = options.seed}.Fold(kDropout)});
  fingerprint = absl::StrJoin(
      {absl::StrCat("model ", model.path), absl::StrCat("data ", options.data),
       absl::StrCat("rows ", train.examples.size()), absl::StrCat("method ", Name(options.method)),
       absl::StrCat("parameters ", elements), absl::StrCat("r ", options.lora_r),
       absl::StrCat("batch ", options.batch_size, "x", options.gradient_accumulation_steps),
       absl::StrCat("length ", options.max_seq_length), absl::StrCat("packing ", options.packing),
       absl::StrCat("steps ", max_steps), absl::StrCat("rate ", options.learning_rate, " ", options.lr_scheduler_type),
       absl::StrCat("dropout ", options.lora_dropout), absl::StrCat("dtype ", Name(compute_dtype)),
       absl::StrCat("seed ", options.seed)},
      ", ");
  return absl::OkStatus();
}

}  // namespace lorikeet
